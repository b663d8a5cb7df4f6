"""What a hospital may charge patients for the result: the key `price_list`, items of a public price catalogue.

The patient's charge never becomes a line: the vendor's fee is a matter of `rates`, and the two stay apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

from billing.contracts.rate_terms import Rate, by_language
from billing.contracts.yaml_reader import YamlMap


@dataclass(frozen=True)
class PriceItem:
    """One item of one jurisdiction (the dimension `region`) from `starts_on` to `ends_before`, local days.

    products: whose results are charged by it; none for an item that others only refer to.
    price: major units for one case. parent, parent_fraction: instead of a price, a part of another item's.
    cap: major units for one case, at most. requires: the examination must have been charged under one of
        these codes (the event's dimension `item_code`). excluded_by: under these it holds the result already.
    is_patient_chargeable: False where the result is part of the parent item at no extra charge.
    """

    code: str
    jurisdiction: str
    title: Mapping[str, str]
    products: tuple[str, ...]
    starts_on: date
    ends_before: date | None
    is_patient_chargeable: bool
    price: Decimal | None
    parent: str = ""
    parent_fraction: Fraction = Fraction(0)
    cap: Decimal | None = None
    requires: tuple[str, ...] = ()
    excluded_by: tuple[str, ...] = ()

    def is_in_force(self, day: date) -> bool:
        return self.starts_on <= day and (self.ends_before is None or day < self.ends_before)


def read(top: YamlMap, rates: Sequence[Rate]) -> tuple[PriceItem, ...]:
    """The items in the contract's order, with every gap and overlap in time told."""
    products = {rate.product for rate in rates}
    items: list[PriceItem] = []
    sources: list[YamlMap] = []
    for source in top.maps("price_list", is_required=False):
        items.append(_item(source, products))
        sources.append(source)
        source.finish()
    for number, problem in _time_problems(items):
        top.problem_of_item("price_list", number, problem)
    for source, item in zip(sources, items, strict=True):
        if item.parent and not any(
            other.code == item.parent and other.jurisdiction == item.jurisdiction and other.price is not None
            for other in items
        ):
            source.problem("parent", f"{item.parent} is no item with a price in {item.jurisdiction}")
    return tuple(items)


def _item(source: YamlMap, priced: set[str]) -> PriceItem:
    chargeable = source.one_of("patient_chargeable", ("yes", "no"), default="yes") == "yes"
    has_parent = source.has("parent")
    item = PriceItem(
        code=source.text("code"),
        jurisdiction=source.text("jurisdiction"),
        title=by_language(source, "title"),
        products=source.texts("products"),
        starts_on=source.day("from"),
        ends_before=source.day_or_none("until"),
        is_patient_chargeable=chargeable,
        price=None if has_parent or not (chargeable or source.has("price")) else source.decimal("price"),
        parent=source.text("parent") if has_parent else "",
        parent_fraction=Fraction(source.decimal("fraction")) if has_parent else Fraction(0),
        cap=source.decimal("cap") if source.has("cap") else None,
        requires=source.texts("requires"),
        excluded_by=source.texts("excluded_by"),
    )
    for name in item.products:
        if name not in priced:
            source.problem("products", f"{name} has no price in this contract")
    if item.ends_before is not None and item.ends_before <= item.starts_on:
        source.problem("until", "must be later than `from`")
    return item


def _time_problems(items: Sequence[PriceItem]) -> list[tuple[int, str]]:
    """(position, sentence): where one code and jurisdiction has no price for some days, or two at once."""
    positions: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, item in enumerate(items):
        positions[item.code, item.jurisdiction].append(number)
    problems = []
    for numbers in positions.values():
        numbers.sort(key=lambda number: items[number].starts_on)
        for before, after in pairwise(numbers):
            end, start = items[before].ends_before, items[after].starts_on
            name = f"{items[after].code} in {items[after].jurisdiction}"
            if end is None or end > start:
                problems.append((after, f"{name} has two prices from {start} on: end the earlier one before"))
            elif end < start:
                problems.append((after, f"{name} has no price from {end} until {start}: let the dates meet"))
    return problems
