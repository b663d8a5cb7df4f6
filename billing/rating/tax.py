"""Tax: computed once from the total of each group, then pushed down to its lines and stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from billing.money import Money, push_down, round_half_away_from_zero
from billing.rating.rate import RatedLine


@dataclass(frozen=True)
class TaxLine:
    """One tax at one rate. base: the sum of its lines, tax excluded. tax: rounded once from the base."""

    name: str
    rate: Decimal
    base: Money
    tax: Money


def compute(lines: Sequence[RatedLine], currency: str) -> tuple[tuple[TaxLine, ...], tuple[Money, ...]]:
    """The tax lines, by name and rate, and the tax of each line in the order given; both sum alike."""
    groups: dict[tuple[str, Decimal], list[int]] = defaultdict(list)
    for index, line in enumerate(lines):
        groups[line.tax_name, line.tax_rate].append(index)
    tax_of_line = [Money.zero(currency)] * len(lines)
    tax_lines = []
    for (name, rate), indices in sorted(groups.items()):
        base = sum((lines[index].amount for index in indices), Money.zero(currency))
        tax = round_half_away_from_zero(base.amount_minor * Fraction(rate))
        shares = [lines[index].amount.amount_minor * Fraction(rate) for index in indices]
        keys = [f"{lines[index].service_start} {lines[index].key}" for index in indices]
        for index, part in zip(indices, push_down(tax, shares, keys), strict=True):
            tax_of_line[index] = Money(part, currency)
        tax_lines.append(TaxLine(name, rate, base, Money(tax, currency)))
    return tuple(tax_lines), tuple(tax_of_line)
