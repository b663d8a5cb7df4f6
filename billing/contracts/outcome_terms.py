"""Pay for effect: what a case costs before and after its verdict; the key `outcome`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from billing.contracts.case_rules_terms import Bundle, CaseRule, SequenceDiscount, require_quantities
from billing.contracts.rate_terms import Rate
from billing.contracts.yaml_reader import YamlMap
from billing.metering.usage import Verdict
from billing.pricing.per_unit import PerUnit

WINDOW_DAYS_MAX = 366


@dataclass(frozen=True)
class OutcomeTerms:
    """at_delivery, accepted, rejected, none: parts of the price, before the verdict and by verdict.

    window: how long after delivery a verdict counts. floor, cap: major units, for all these products together
        in one service period; None: no limit.
    """

    products: tuple[str, ...]
    window: timedelta
    at_delivery: Fraction
    accepted: Fraction
    rejected: Fraction
    none: Fraction
    floor: Decimal | None = None
    cap: Decimal | None = None

    def fraction(self, verdict: str | None) -> Fraction:
        """The part of the price that is due; `verdict` None: there is none yet."""
        if verdict is None:
            return self.at_delivery
        by_verdict = {
            Verdict.ACCEPTED: self.accepted,
            Verdict.REJECTED: self.rejected,
            Verdict.NONE: self.none,
        }
        return by_verdict[Verdict(verdict)]


def read(top: YamlMap, rates: Sequence[Rate], case_rules: Sequence[CaseRule]) -> OutcomeTerms | None:
    """None where nothing depends on a verdict."""
    if not top.has("outcome"):
        return None
    source = top.map("outcome")
    zero, one = Decimal(0), Decimal(1)
    terms = OutcomeTerms(
        products=source.texts("products"),
        window=timedelta(days=source.integer("window_days", 1, WINDOW_DAYS_MAX)),
        at_delivery=Fraction(source.decimal("at_delivery", default=zero)),
        accepted=Fraction(source.decimal("accepted", default=one)),
        rejected=Fraction(source.decimal("rejected", default=zero)),
        none=Fraction(source.decimal("none")),
        floor=source.decimal("floor") if source.has("floor") else None,
        cap=source.decimal("cap") if source.has("cap") else None,
    )
    _check(source, terms, rates)
    _check_rules(source, terms, case_rules)
    source.finish()
    return terms


def _check(source: YamlMap, terms: OutcomeTerms, rates: Sequence[Rate]) -> None:
    require_quantities(source, terms.products, rates)
    by_product = {rate.product: rate for rate in rates}
    if not terms.products:
        source.problem("products", "needs a list with at least one product")
    for name in terms.products:
        if name not in by_product:
            source.problem("products", f"{name} has no price in this contract")
    fractions = {key: getattr(terms, key) for key in ("at_delivery", "accepted", "rejected", "none")}
    for key, fraction in fractions.items():
        if fraction > 1:
            source.problem(key, "is a part of the price, from 0 to 1")
    is_partial = any(fraction not in (0, 1) for fraction in fractions.values())
    if is_partial and any(
        rate.product in terms.products and not isinstance(rate.pricing, PerUnit) for rate in rates
    ):
        source.problem("products", "need a price per unit where a part of the price is due")
    if terms.floor is not None and terms.cap is not None and terms.cap < terms.floor:
        source.problem("cap", "must not be below `floor`")


def _check_rules(source: YamlMap, terms: OutcomeTerms, case_rules: Sequence[CaseRule]) -> None:
    """A price is changed by its request or in part by its verdict; by both nobody could follow it."""
    is_partial = any(
        part not in (0, 1) for part in (terms.at_delivery, terms.accepted, terms.rejected, terms.none)
    )
    for rule in case_rules:
        is_kept_apart = isinstance(rule, Bundle) or (isinstance(rule, SequenceDiscount) and is_partial)
        for product in sorted(set(rule.products) & set(terms.products)) if is_kept_apart else ():
            source.problem("products", f"{product} is in case rule {rule.id}: leave it out here or there")
