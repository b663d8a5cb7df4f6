"""Usage summed as far as a contract's prices tell it apart; exact, whatever the order or the batches."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from billing.usage import RESULT_METER, UsageEvent, plain


@dataclass(frozen=True)
class UsageGroup:
    """Events of one product that no filter of the contract tells apart.

    dimensions: the values that the contract's filters ask for; what events do not say is left out.
    quantity: their sum. peak: the highest quantity of one event.
    """

    product: str
    quantity: Decimal
    event_count: int
    peak: Decimal
    dimensions: Mapping[str, str] = field(default_factory=dict)
    meter: str = RESULT_METER


@dataclass(frozen=True)
class UsageTotals:
    """Billable usage of one contract and period. inputs_digest: SHA-256 (hex) of the events' payload hashes in
    ascending order, so that it names the set and not its order."""

    groups: tuple[UsageGroup, ...]
    inputs_digest: str

    @property
    def event_count(self) -> int:
        return sum(group.event_count for group in self.groups)


def total_usage(events: Iterable[UsageEvent], names: Sequence[str] = ()) -> UsageTotals:
    """Totals of events that are all billable and of one contract and period; in any order.

    names: the contract's filter dimensions.
    """
    groups: dict[tuple[str, str, tuple[tuple[str, str], ...]], list[Decimal]] = defaultdict(list)
    hashes = []
    for event in events:
        told = tuple((name, event.dimensions[name]) for name in names if name in event.dimensions)
        groups[event.product, event.meter, told].append(event.quantity)
        hashes.append(event.payload_hash)
    totals = tuple(
        UsageGroup(product, _sum(quantities), len(quantities), max(quantities), dict(told), meter)
        for (product, meter, told), quantities in sorted(groups.items())
    )
    return UsageTotals(totals, hashlib.sha256(b"".join(sorted(hashes))).hexdigest())


def _sum(quantities: Iterable[Decimal]) -> Decimal:
    return exact_decimal(sum(map(Fraction, quantities), Fraction(0)))


def exact_decimal(value: Fraction) -> Decimal:
    """The Decimal of a fraction that has at most 6 decimals, as every sum of quantities has."""
    millionths = value * 10**6
    assert millionths.denominator == 1, "quantities have at most 6 decimals"
    return Decimal(plain(Decimal(millionths.numerator).scaleb(-6)))
