"""Whether a contract is a next version of another: what stays, when it may begin, what a running term was billed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from billing.contracts.contract import Contract
from billing.pricing.subscription import Subscription

Timeline = list[tuple[str, date, date, str, str]]


def problems(old: Contract, new: Contract) -> Iterator[str]:
    """One sentence for everything that a next version cannot change; the most basic first."""
    kept = {
        "seller_id": (old.seller.id, new.seller.id),
        "buyer_id": (old.buyer.id, new.buyer.id),
        "currency": (old.currency, new.currency),
        "time_zone": (old.time_zone, new.time_zone),
        "anchor_day": (old.anchor_day, new.anchor_day),
    }
    changed = sorted(name for name, (before, after) in kept.items() if before != after)
    if changed:
        yield f"a new version cannot change: {', '.join(changed)}"
    if new.effective_from <= old.effective_from:
        yield f"effective_from must be later than {old.effective_from}"
    if not new.is_period_start(new.effective_from):
        yield "effective_from must be the first day of a period"
    yield from _term_problems(old, new)


def overlap(one: Contract, other: Contract) -> str | None:
    """Two contracts of one tenant price a product once."""
    both = sorted(one.products & other.products)
    return f"{', '.join(both)}: priced by {one.name} and by {other.name}" if both else None


def _term_problems(old: Contract, new: Contract) -> Iterator[str]:
    """Fees of a running term that the new version would rewrite; none between two terms."""
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
