"""What treated usage costs: a part of the price, a bundle's price or nothing; each a line with its sentence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from billing.contracts.case_rules_terms import Bundle
from billing.contracts.rate_terms import Rate
from billing.metering.usage import plain
from billing.money import Money, push_down, to_money
from billing.pricing.part import PricedPart
from billing.pricing.per_unit import PerUnit
from billing.rating.treatment import FULL_PRICE, Treatment

if TYPE_CHECKING:
    from billing.contracts.contract import Contract
    from billing.metering.usage_totals import UsageGroup
    from billing.rating.rate import RatedLine


def parts(contract: Contract, item: Rate, groups: Iterable[UsageGroup]) -> Iterator[PricedPart]:
    """One part for each treatment of a rate's usage; what is at full price is priced by its model."""
    for treatment, quantity in _sums(group for group in groups if not group.treatment.item):
        if treatment.code == "bundle_share":
            bundle = _bundle(contract, treatment)
            yield _part(treatment, quantity, bundle.unit_price, {"bundle": bundle.id})
        elif isinstance(item.pricing, PerUnit):
            yield _part(treatment, quantity, item.pricing.unit_price, {})
        else:
            assert treatment.fraction == 0, "only a price per unit can be charged in part"
            yield _part(treatment, quantity, Decimal(0), {})


def bundle_parts(contract: Contract, groups: Iterable[UsageGroup]) -> Iterator[tuple[Bundle, PricedPart]]:
    """The lines of bundles that stand under their own title."""
    for treatment, quantity in _sums(group for group in groups if group.treatment.item):
        bundle = _bundle(contract, treatment)
        yield bundle, _part(treatment, quantity, bundle.unit_price, {})


def round_bundles(contract: Contract, lines: Sequence[RatedLine]) -> list[RatedLine]:
    """The lines that share a bundle's price, rounded so that they sum to it exactly."""
    sharing: dict[str, list[int]] = defaultdict(list)
    for index, line in enumerate(lines):
        if line.explanation["code"] == "bundle_share":
            sharing[line.explanation["bundle"]].append(index)
    rounded = list(lines)
    for indices in sharing.values():
        total = to_money(sum((lines[i].exact for i in indices), Fraction(0)), contract.currency)
        scale = Fraction(total.amount_minor) / Fraction(total.amount) if total else Fraction(1)
        shares = [lines[i].exact * scale for i in indices]
        amounts = push_down(total.amount_minor, shares, [lines[i].key for i in indices])
        for index, amount_minor in zip(indices, amounts, strict=True):
            rounded[index] = replace(lines[index], amount=Money(amount_minor, contract.currency))
    return rounded


def outcome_limit(contract: Contract, lines: Iterable[RatedLine]) -> Iterator[tuple[Rate, PricedPart]]:
    """What lifts the products paid by outcome to their floor in the period, or takes them down to their cap."""
    terms = contract.outcome
    if terms is None:
        return
    own = [line.amount for line in lines if line.product in terms.products]
    if not own:  # a month without deliveries owes nothing; a minimum whatever happens is a commitment
        return
    total = sum(own, Money.zero(contract.currency))
    for name, limit in (("floor", terms.floor), ("cap", terms.cap)):
        if limit is None or (total.amount >= limit if name == "floor" else total.amount <= limit):
            continue
        explanation = {"code": f"outcome_{name}", "limit": f"{limit:f}", "before": str(total)}
        amount = Fraction(limit) - Fraction(total.amount)
        head = next(rate for rate in contract.rates if rate.product in terms.products)
        yield head, PricedPart(f"outcome-{name}", Decimal(1), None, amount, explanation)


def _sums(groups: Iterable[UsageGroup]) -> list[tuple[Treatment, Decimal]]:
    sums: dict[Treatment, Fraction] = defaultdict(Fraction)
    for group in groups:
        if group.treatment != FULL_PRICE:
            sums[group.treatment] += Fraction(group.quantity)
    ordered = sorted(sums.items(), key=lambda item: item[0].key)
    return [(treatment, _decimal(quantity)) for treatment, quantity in ordered]


def _part(treatment: Treatment, quantity: Decimal, unit_price: Decimal, more: dict[str, str]) -> PricedPart:
    effective = Fraction(unit_price) * treatment.fraction
    explanation = {
        "code": treatment.code,
        "rule": treatment.rule,
        "quantity": plain(quantity),
        "unit_price": f"{unit_price:f}",
        "percent": plain(_decimal(treatment.fraction * 100)),
        **more,
    }
    return PricedPart(
        treatment.key, quantity, _decimal(effective), Fraction(quantity) * effective, explanation
    )


def _decimal(value: Fraction) -> Decimal:
    """Exact: quantities, prices and fractions are written as decimals."""
    return Decimal(value.numerator) / Decimal(value.denominator)


def _bundle(contract: Contract, treatment: Treatment) -> Bundle:
    found = [rule for rule in contract.case_rules if rule.id == treatment.rule]
    assert isinstance(found[0], Bundle), "a treatment names a rule of its contract"
    return found[0]
