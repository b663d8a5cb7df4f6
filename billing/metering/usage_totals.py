"""Usage summed as far as a contract's prices tell it apart; exact, whatever the order or the batches."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from billing.metering.usage import RESULT_METER, UsageEvent, plain
from billing.rating.treatment import FULL_PRICE, Treatment


@dataclass(frozen=True)
class Grouping:
    """What a contract's prices tell apart.

    names: dimensions. thresholds: ascending amounts in minor units at which the limit of an event's share sets in.
    is_shared: some price is a share of the amounts that events carry.
    """

    names: tuple[str, ...] = ()
    thresholds: tuple[int, ...] = ()
    is_shared: bool = False


@dataclass(frozen=True)
class UsageGroup:
    """Events of one product that no price of the contract tells apart.

    dimensions: the values that the contract's filters ask for; what events do not say is left out.
    quantity: their sum. peak: the highest quantity of one event.
    amount_minor: sum of the amounts they carry; amount_currency is empty where they carry none.
    band: how many thresholds the magnitude of each one's amount has reached. is_refund: the amounts are below zero.
    treatment: what case rules or verdicts make of the price.
    """

    product: str
    quantity: Decimal
    event_count: int
    peak: Decimal
    dimensions: Mapping[str, str] = field(default_factory=dict)
    meter: str = RESULT_METER
    amount_minor: int = 0
    amount_currency: str = ""
    band: int = 0
    is_refund: bool = False
    treatment: Treatment = FULL_PRICE


@dataclass(frozen=True)
class UsageTotals:
    """Billable usage of one contract and period. inputs_digest: see `digest_set`."""

    groups: tuple[UsageGroup, ...]
    inputs_digest: str

    @property
    def event_count(self) -> int:
        return sum(group.event_count for group in self.groups)


def total_usage(events: Iterable[UsageEvent], grouping: Grouping = Grouping()) -> UsageTotals:
    """Totals of events that are all billable and of one contract and period; in any order."""
    grouped: dict[tuple[object, ...], list[UsageEvent]] = defaultdict(list)
    for event in events:
        amount = event.amount_minor or 0
        told = tuple(event.dimensions.get(name) or "" for name in grouping.names)
        band = bisect_right(grouping.thresholds, abs(amount))
        key = (event.product, event.meter, told, event.amount_currency or "", band, amount < 0)
        grouped[key].append(event)
    hashes = [event.payload_hash.hex() for alike in grouped.values() for event in alike]
    groups = tuple(_group(alike, grouping) for _, alike in sorted(grouped.items()))
    sums = (sum(int(one[start : start + 15], 16) for one in hashes) for start in (0, 15))
    return UsageTotals(groups, digest_set(len(hashes), *sums))


def digest_set(count: int, hash_sum_1: int, hash_sum_2: int) -> str:
    """SHA-256 (hex) that names a set of events, whatever their order and however they are grouped.

    hash_sum: of the events' payload hashes, the first sixty bits and the next sixty. Sums need no sorting, so that
    the database makes them in the one pass in which it sums the usage.
    """
    return hashlib.sha256(f"{count} {hash_sum_1} {hash_sum_2}".encode()).hexdigest()


def _group(alike: list[UsageEvent], grouping: Grouping) -> UsageGroup:
    """alike: events of one group, at least one."""
    first, amounts = alike[0], [event.amount_minor or 0 for event in alike]
    return UsageGroup(
        product=first.product,
        quantity=_sum(event.quantity for event in alike),
        event_count=len(alike),
        peak=max(event.quantity for event in alike),
        dimensions={name: first.dimensions[name] for name in grouping.names if name in first.dimensions},
        meter=first.meter,
        amount_minor=sum(amounts),
        amount_currency=first.amount_currency or "",
        band=bisect_right(grouping.thresholds, abs(amounts[0])),
        is_refund=amounts[0] < 0,
    )


def _sum(quantities: Iterable[Decimal]) -> Decimal:
    return exact_decimal(sum(map(Fraction, quantities), Fraction(0)))


def exact_decimal(value: Fraction) -> Decimal:
    """The Decimal of a fraction that has at most 6 decimals, as every sum of quantities has."""
    millionths = value * 10**6
    assert millionths.denominator == 1, "quantities have at most 6 decimals"
    return Decimal(plain(Decimal(millionths.numerator).scaleb(-6)))
