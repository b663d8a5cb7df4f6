"""Whether a new version of a contract leaves alone what its earlier version has billed ahead for the term."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from billing.contract import Contract
from billing.pricing.subscription import Subscription

Timeline = list[tuple[str, date, date, str, str]]


def problems(old: Contract, new: Contract) -> Iterator[str]:
    """One sentence for each fee of a running term that the new version would rewrite; none between two terms."""
    begins = new.effective_from
    running = old.term.containing(begins) if old.term else None
    if old.term is None or running is None or running[0] == begins:
        return
    if new.term is None or new.term.containing(begins) != running:
        yield f"the term runs until {running[1]}: keep `term` until then"
        return
    for rate in old.rates:
        if not isinstance(rate.pricing, Subscription) or not rate.pricing.is_per_term:
            continue
        follower = new.rate_by_id(rate.id)
        if follower is None or not isinstance(follower.pricing, Subscription):
            yield f"{rate.id} was billed for the term until {running[1]}: keep it and end its items with `until`"
        elif _before(rate.pricing, begins) != _before(follower.pricing, begins):
            yield f"{rate.id} rewrites what was billed before {begins}: change its items from that day on"


def _before(pricing: Subscription, day: date) -> Timeline:
    """What was subscribed to up to `day`, as far as a term's fee depends on it."""
    return [
        (item.party, item.starts_on, min(item.ends_before, day), f"{item.quantity:f}", f"{item.unit_price:f}")
        for item in pricing.items
        if item.starts_on < day and item.fee
    ]
