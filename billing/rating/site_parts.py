"""A site's part of a line, and the sums of a statement by site."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from billing.money import Money

Place = tuple[str, str]
"""(site, department); the department is empty where a contract tells sites apart only."""


@dataclass(frozen=True)
class SitePart:
    """A place's part of one line.

    site: empty for usage that names none. quantity: of the line's units, 0 where no usage decides.
    """

    site: str
    department: str
    quantity: Decimal
    amount: Money
    tax: Money

    @property
    def place(self) -> Place:
        return self.site, self.department


@dataclass(frozen=True)
class SiteTotal:
    """A place's part of a statement. amount: tax excluded."""

    site: str
    department: str
    amount: Money
    tax: Money

    @property
    def total(self) -> Money:
        return self.amount + self.tax


def sum_by_place(parts: Iterable[SitePart], currency: str) -> tuple[SiteTotal, ...]:
    """The totals of the places, in their order; together they are the sums of the lines."""
    zero = Money.zero(currency)
    sums: dict[Place, tuple[Money, Money]] = defaultdict(lambda: (zero, zero))
    for part in parts:
        amount, tax = sums[part.place]
        sums[part.place] = amount + part.amount, tax + part.tax
    return tuple(SiteTotal(*place, *sums[place]) for place in sorted(sums))


def total_values(total: SiteTotal) -> dict[str, Any]:
    """A total as JSON values."""
    return {
        "site": total.site,
        "department": total.department,
        "amount_minor": total.amount.amount_minor,
        "tax_minor": total.tax.amount_minor,
    }


def total_from(values: Mapping[str, Any], currency: str) -> SiteTotal:
    """The inverse of `total_values`."""
    amount, tax = Money(values["amount_minor"], currency), Money(values["tax_minor"], currency)
    return SiteTotal(values["site"], values["department"], amount, tax)
