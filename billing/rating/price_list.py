"""Price list: what the hospital may charge patients for the results of a period, beside the vendor's fee."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from billing.contracts.price_list_terms import PriceItem
from billing.metering.usage import plain
from billing.money import Money, to_money


@dataclass(frozen=True)
class Examination:
    """Cases of one product, place, day and examination item. day: local. item_code: what was charged for it."""

    product: str
    region: str
    day: date
    item_code: str
    cases: Decimal


@dataclass(frozen=True)
class PatientCharge:
    """One item's sum of a period; not part of any statement's total.

    code: of the item, "" where the list has none. reason: `charged`, or why nothing is.
    unit_amount: for one case, rounded once, as a patient pays it. amount: for all `cases`.
    """

    code: str
    jurisdiction: str
    reason: str
    cases: Decimal
    unit_amount: Money
    amount: Money


def charges(
    items: Sequence[PriceItem], examinations: Iterable[Examination], currency: str
) -> tuple[PatientCharge, ...]:
    """The charges by jurisdiction, code, reason and unit amount."""
    sums: dict[tuple[str, str, str, int], Decimal] = defaultdict(Decimal)
    for one in examinations:
        item = _find(items, one.product, one.region, one.day)
        reason, unit = ("no_item", Fraction(0)) if item is None else _charge(items, item, one)
        code = item.code if item else ""
        sums[one.region, code, reason, to_money(unit, currency).amount_minor] += one.cases
    return tuple(
        PatientCharge(
            code,
            region,
            reason,
            cases,
            Money(unit_minor, currency),
            _times(Money(unit_minor, currency), cases),
        )
        for (region, code, reason, unit_minor), cases in sorted(sums.items())
    )


def _times(unit: Money, cases: Decimal) -> Money:
    return to_money(Fraction(unit.amount) * Fraction(cases), unit.currency)


def _find(items: Sequence[PriceItem], product: str, region: str, day: date) -> PriceItem | None:
    return next(
        (i for i in items if product in i.products and i.jurisdiction == region and i.is_in_force(day)), None
    )


def _charge(items: Sequence[PriceItem], item: PriceItem, one: Examination) -> tuple[str, Fraction]:
    """(reason, major units for one case)."""
    if not item.is_patient_chargeable or one.item_code in item.excluded_by:
        return "inside_parent_item", Fraction(0)
    if item.requires and one.item_code not in item.requires:
        return "parent_item_missing", Fraction(0)
    price = _price(items, item, one.day)
    if price is None:
        return "no_parent_price", Fraction(0)
    return "charged", price if item.cap is None else min(price, Fraction(item.cap))


def _price(items: Sequence[PriceItem], item: PriceItem, day: date) -> Fraction | None:
    if item.price is not None:
        return Fraction(item.price)
    for parent in items:
        is_it = parent.code == item.parent and parent.jurisdiction == item.jurisdiction
        if is_it and parent.price is not None and parent.is_in_force(day):
            return Fraction(parent.price) * item.parent_fraction
    return None


def charge_values(charge: PatientCharge) -> dict[str, Any]:
    """A charge as JSON values."""
    return {
        "code": charge.code,
        "jurisdiction": charge.jurisdiction,
        "reason": charge.reason,
        "cases": plain(charge.cases),
        "unit_amount_minor": charge.unit_amount.amount_minor,
        "amount_minor": charge.amount.amount_minor,
    }


def charge_from(values: Mapping[str, Any], currency: str) -> PatientCharge:
    """The inverse of `charge_values`."""
    return PatientCharge(
        values["code"],
        values["jurisdiction"],
        values["reason"],
        Decimal(values["cases"]),
        Money(values["unit_amount_minor"], currency),
        Money(values["amount_minor"], currency),
    )
