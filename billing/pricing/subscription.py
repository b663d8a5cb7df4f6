"""A fee for what is subscribed to, in time: by site, by grade, by bed; changes count by the day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import ClassVar

from billing.contracts.party_terms import Party
from billing.contracts.yaml_reader import YamlMap
from billing.metering.usage import plain
from billing.pricing.day_count import DAY_COUNTS, days_between
from billing.pricing.part import PricedPart


@dataclass(frozen=True)
class Item:
    """`quantity` units at `unit_price`, which is for a whole period or term; [starts_on, ends_before)."""

    party: str
    label: str
    quantity: Decimal
    unit_price: Decimal
    starts_on: date
    ends_before: date = date.max

    @property
    def fee(self) -> Fraction:
        return Fraction(self.quantity) * Fraction(self.unit_price)


@dataclass(frozen=True)
class Subscription:
    """items: by party and start; one party's never overlap. day_count: see `days_between`.

    is_per_term: billed in the period in which the term begins, for all of it; what changes later in the term is
    billed by days in the period of the change. Else billed for each period.
    """

    model: ClassVar[str] = "subscription"
    is_metered: ClassVar[bool] = False
    items: tuple[Item, ...]
    is_per_term: bool = False
    day_count: str = DAY_COUNTS[0]

    @classmethod
    def read(cls, source: YamlMap, parties: Mapping[str, Party]) -> Subscription:
        is_per_term = source.one_of("per", ("period", "term"), default="period") == "term"
        day_count = source.one_of("day_count", DAY_COUNTS, default=DAY_COUNTS[0])
        prices = _prices(source)
        counted = source.text("of", "")
        items: list[Item] = []
        for item in source.maps("items"):
            items.append(_item(item, parties, prices, counted))
            item.finish()
        ordered = sorted(items, key=lambda item: (item.party, item.starts_on))
        for one, following in pairwise(ordered):
            if (one.party, one.starts_on) == (following.party, following.starts_on):
                source.problem("items", f"has two items of {one.party} that begin on {one.starts_on}")
        return cls(tuple(_cut(ordered)), is_per_term, day_count)

    def price(self, start: date, end: date, span_start: date, span_end: date) -> tuple[PricedPart, ...]:
        """What the period [start, end) bills of the span [span_start, span_end): the whole period, or the term.

        Only changes before `end` are known then. So what a period bills never depends on what comes after it.
        """
        known = [item for item in self.items if item.starts_on < end]
        known = [item if item.ends_before < end else replace(item, ends_before=date.max) for item in known]
        if not self.is_per_term or start <= span_start:
            begin, parts = max(start, span_start), []
            for item in known:
                first, last = max(item.starts_on, begin), min(item.ends_before, span_end)
                if first < last:
                    parts.append(self._part(item, first, last, span_start, span_end))
            return tuple(parts)
        return tuple(self._changes(known, start, end, span_start, span_end))

    def _part(self, item: Item, first: date, last: date, span_start: date, span_end: date) -> PricedPart:
        days, full_days = self._days(first, last), self._days(span_start, span_end)
        explanation = {
            "code": "subscription" if days == full_days else "subscription_days",
            "label": item.label,
            "quantity": plain(item.quantity),
            "unit_price": f"{item.unit_price:f}",
            "from": first.isoformat(),
            "until": last.isoformat(),
            "days": str(days),
            "full_days": str(full_days),
        }
        return PricedPart(
            key=f"{item.party}-{first.isoformat()}",
            quantity=item.quantity,
            unit_price=item.unit_price if days == full_days else None,
            amount=item.fee * Fraction(days, full_days),
            explanation=explanation,
            recognise=(first, last),
        )

    def _changes(
        self, known: list[Item], start: date, end: date, span_start: date, span_end: date
    ) -> Iterator[PricedPart]:
        full_days = self._days(span_start, span_end)
        for party in dict.fromkeys(item.party for item in known):
            own = [item for item in known if item.party == party]
            days = {day for item in own for day in (item.starts_on, item.ends_before) if start <= day < end}
            for day in sorted(days):
                before = next((item for item in own if item.starts_on < day <= item.ends_before), None)
                after = next((item for item in own if item.starts_on <= day < item.ends_before), None)
                if (before and (before.quantity, before.unit_price)) == (
                    after and (after.quantity, after.unit_price)
                ):
                    continue
                left = self._days(day, span_end)
                fee = (after.fee if after else Fraction(0)) - (before.fee if before else Fraction(0))
                explanation = {
                    "code": "subscription_change",
                    "label": own[0].label,
                    "before": _terms(before),
                    "after": _terms(after),
                    "from": day.isoformat(),
                    "until": span_end.isoformat(),
                    "days": str(left),
                    "full_days": str(full_days),
                }
                quantity = (after.quantity if after else Decimal(0)) - (
                    before.quantity if before else Decimal(0)
                )
                yield PricedPart(
                    key=f"{party}-{day.isoformat()}",
                    quantity=quantity,
                    unit_price=None,
                    amount=fee * Fraction(left, full_days),
                    explanation=explanation,
                    recognise=(day, span_end),
                )

    def _days(self, first: date, last: date) -> int:
        return days_between(self.day_count, first, last)


def _terms(item: Item | None) -> str:
    return "0" if item is None else f"{plain(item.quantity)} × {item.unit_price:f}"


def _prices(source: YamlMap) -> dict[str, Decimal]:
    """By grade; under "" where one price is for all."""
    if source.has("by_grade"):
        grades = source.map("by_grade")
        return {name: grades.decimal(name) for name in grades.names}
    return {"": source.decimal("amount")}


def _item(source: YamlMap, parties: Mapping[str, Party], prices: dict[str, Decimal], counted: str) -> Item:
    party_id = source.text("party", next(iter(parties), ""))
    party = parties.get(party_id)
    if party is None:
        source.problem("party", "names nobody in this contract: add it under `parties`")
    facts = party.facts if party else {}
    grade = source.text("grade", facts.get("grade", "")) if "" not in prices else ""
    if grade not in prices:
        source.problem(
            "grade" if source.has("grade") else "party", f"has no price for the grade {grade or '(none)'}"
        )
    default = facts.get(counted, "") if counted else "1"
    if counted and not source.has("quantity") and not default.isdigit():
        source.problem("party", f"says no whole number of {counted} among its `facts`")
        default = "1"
    starts_on = source.day("from")
    ends_before = source.day_or_none("until") or date.max
    if ends_before <= starts_on:
        source.problem("until", "must be later than `from`")
    quantity = source.decimal("quantity", default=Decimal(default or 1))
    label = party.name if party else party_id
    return Item(party_id, label, quantity, prices.get(grade, Decimal(0)), starts_on, ends_before)


def _cut(items: list[Item]) -> Iterator[Item]:
    """An item ends at the latest where the next one of its party begins."""
    for position, item in enumerate(items):
        following = items[position + 1 : position + 2]
        if following and following[0].party == item.party:
            yield replace(item, ends_before=min(item.ends_before, following[0].starts_on))
        else:
            yield item
