"""Who pays how much of a line: the key `payers`, a list of rules of which the first that matches a case counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from billing.contracts.party_terms import Party
from billing.contracts.yaml_reader import YamlMap
from billing.metering.usage import DIMENSIONS


@dataclass(frozen=True)
class CoPay:
    """payer pays `per_case` for each case plus `fraction` of the amount, at most `cap` for each case.

    per_case, cap: major units; cap None: no cap. What the amount does not reach is never asked.
    """

    payer: str
    per_case: Fraction = Fraction(0)
    fraction: Fraction = Fraction(0)
    cap: Fraction | None = None

    def of(self, amount: Fraction, cases: Fraction) -> Fraction:
        """The co-pay of `cases` that cost `amount` in all, major units; mirrors for a negative amount."""
        if amount < 0:
            return -self.of(-amount, abs(cases))
        asked = self.per_case * cases + self.fraction * amount
        if self.cap is not None:
            asked = min(asked, self.cap * cases)
        return min(asked, amount)


@dataclass(frozen=True)
class PayerRule:
    """when: dimension → values; all must match; empty: every case and every fee.

    shares: parts of the amount by payer, summing to 1, of what the co-pay leaves.
    """

    when: Mapping[str, tuple[str, ...]]
    shares: Mapping[str, Fraction]
    copay: CoPay | None = None

    def divide(self, amount: Fraction, cases: Fraction) -> dict[str, Fraction]:
        """Exact parts of `amount` by payer; they sum to it."""
        parts = {payer: Fraction(0) for payer in self.payers}
        rest = amount
        if self.copay is not None:
            parts[self.copay.payer] = self.copay.of(amount, cases)
            rest -= parts[self.copay.payer]
        for payer, share in self.shares.items():
            parts[payer] += rest * share
        return parts

    @property
    def payers(self) -> tuple[str, ...]:
        own = (self.copay.payer,) if self.copay else ()
        return tuple(dict.fromkeys((*self.shares, *own)))


@dataclass(frozen=True)
class PayerTerms:
    """rules: none means that the buyer pays everything. lead: who always gets a statement, also one of nothing."""

    rules: tuple[PayerRule, ...] = ()
    payers: tuple[str, ...] = field(default=())

    @property
    def dimensions(self) -> frozenset[str]:
        return frozenset(name for rule in self.rules for name in rule.when)

    def may_owe(self, payer: str, dimensions: Mapping[str, str]) -> bool:
        """Whether the payer takes part in such a case at all."""
        return not self.rules or payer in self.rule_for(dimensions).payers

    def rule_for(self, dimensions: Mapping[str, str]) -> PayerRule:
        for rule in self.rules:
            if all(dimensions.get(name, "") in values for name, values in rule.when.items()):
                return rule
        raise AssertionError("the last rule has no `when`")


BUYER_PAYS = PayerTerms()


def read(top: YamlMap, buyer: Party, parties: Sequence[Party]) -> PayerTerms:
    """The rules in order, and the payers they name: the buyer first where it is one of them."""
    known = [buyer.id, *(party.id for party in parties)]
    rules = []
    for source in top.maps("payers", is_required=False):
        rules.append(_rule(source, known))
        source.finish()
    if rules and (rules[-1].when or any(not rule.when for rule in rules[:-1])):
        top.problem("payers", "needs one rule without `when`, the last: for all other cases and for fees")
    named = {payer for rule in rules for payer in rule.payers}
    return PayerTerms(tuple(rules), tuple(payer for payer in known if payer in named))


def _rule(source: YamlMap, known: Sequence[str]) -> PayerRule:
    copay = _copay(source.map("copay"), known) if source.has("copay") else None
    if source.has("residual"):
        return PayerRule(_when(source), {_payer(source, "residual", known): Fraction(1)}, copay)
    part = source.map("shares")
    shares = {name: Fraction(part.decimal(name)) for name in part.names}
    for name in part.names:
        if name not in known:
            part.problem(name, _unknown(known))
    part.finish()
    total = sum(shares.values())
    is_ratio = total > 0 and all(share.denominator == 1 for share in shares.values())
    if total != 1 and not is_ratio:
        source.problem("shares", "must sum to 1, or be whole numbers like 30 and 70")
        total = Fraction(1)
    return PayerRule(_when(source), {name: share / total for name, share in shares.items()}, copay)


def _copay(source: YamlMap, known: Sequence[str]) -> CoPay:
    zero = Decimal(0)
    copay = CoPay(
        payer=_payer(source, "payer", known),
        per_case=Fraction(source.decimal("per_case", default=zero)),
        fraction=Fraction(source.decimal("fraction", default=zero)),
        cap=Fraction(source.decimal("cap")) if source.has("cap") else None,
    )
    if copay.fraction > 1:
        source.problem("fraction", "is a part of the price: 0.1 for 10 %")
    if not copay.per_case and not copay.fraction:
        source.problem("payer", "pays nothing: give `per_case` or `fraction`")
    source.finish()
    return copay


def _payer(source: YamlMap, key: str, known: Sequence[str]) -> str:
    name = source.text(key)
    if name and name not in known:
        source.problem(key, _unknown(known))
    return name


def _unknown(known: Sequence[str]) -> str:
    return f"is not the buyer or one of `parties`: {', '.join(known)}"


def _when(source: YamlMap) -> dict[str, tuple[str, ...]]:
    if not source.has("when"):
        return {}
    return dict(_filters(source.map("when")))


def _filters(filters: YamlMap) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name in filters.names:
        if name not in DIMENSIONS:
            filters.problem(name, f"is no dimension of usage; one of: {', '.join(sorted(DIMENSIONS))}")
        yield name, filters.text_or_texts(name)
