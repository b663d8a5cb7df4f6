"""What a contract says about cases that come together in one clinical request: the key `case_rules`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from billing.contracts.rate_terms import Rate, by_language
from billing.contracts.yaml_reader import YamlMap, name_of
from billing.pricing.per_unit import PerUnit


@dataclass(frozen=True)
class SequenceDiscount:
    """The first of `products` in a request at fractions[0] of its price, the second at fractions[1], …

    products: highest rank first; the rank, then the time of delivery, decides which is the first.
    fractions: the last one holds for everything after it.
    """

    id: str
    products: tuple[str, ...]
    fractions: tuple[Fraction, ...]


@dataclass(frozen=True)
class RequiresPrimary:
    """`products` are add-ons: charged only where the request has one of `primary`."""

    id: str
    products: tuple[str, ...]
    primary: tuple[str, ...]


@dataclass(frozen=True)
class Exclusion:
    """`products` cost nothing where the request has one of `inside`: they are part of that item."""

    id: str
    products: tuple[str, ...]
    inside: tuple[str, ...]


@dataclass(frozen=True)
class Bundle:
    """Several results of a request at one price instead of their own.

    needs_all: one of each product makes a bundle and what is left over keeps its price; otherwise whatever
        the request has of `products` is one bundle.
    unit_price: major units for one bundle. shares: part of the price on each product's own line, summing
        to 1; without shares the price stands on one line under the bundle's title.
    """

    id: str
    products: tuple[str, ...]
    needs_all: bool
    unit_price: Decimal
    shares: Mapping[str, Fraction] = field(default_factory=dict)
    title: Mapping[str, str] = field(default_factory=dict)
    unit: Mapping[str, str] = field(default_factory=dict)

    @property
    def product(self) -> str:
        """What its own line counts."""
        return self.id

    @property
    def when(self) -> Mapping[str, tuple[str, ...]]:
        """A bundle has no filter of its own: its products are enough."""
        return {}


CaseRule = SequenceDiscount | RequiresPrimary | Exclusion | Bundle
QUANTITY = "quantity"
KINDS = ("sequence_discount", "requires_primary", "exclusion", "bundle")


def read(top: YamlMap, rates: Sequence[Rate]) -> tuple[CaseRule, ...]:
    """The rules, in the contract's order. rates: what its products cost."""
    rules: list[CaseRule] = []
    taken = {rate.id for rate in rates}
    for source in top.maps("case_rules", is_required=False):
        rule = _rule(source, rates)
        if rule.id in taken:
            source.problem("id", "is taken by another rule or a rate")
        taken.add(rule.id)
        source.finish()
        rules.append(rule)
    if _has_circle([rule for rule in rules if isinstance(rule, Exclusion)]):
        top.problem("case_rules", "has exclusions in a circle: each product would be part of another")
    return tuple(rules)


def _rule(source: YamlMap, rates: Sequence[Rate]) -> CaseRule:
    priced = {rate.product for rate in rates}
    rule_id = name_of(source, "id")
    kind = source.one_of("kind", KINDS)
    products = _products(source, "products", priced)
    require_quantities(source, products, rates)
    match kind:
        case "sequence_discount":
            for rate in rates:
                if rate.product in products and not isinstance(rate.pricing, PerUnit):
                    source.problem("products", f"{rate.product} needs a price per unit to be discounted")
            return SequenceDiscount(rule_id, products, _fractions(source))
        case "requires_primary":
            primary = _products(source, "primary", priced)
            _refuse_both(source, "primary", products, primary)
            return RequiresPrimary(rule_id, products, primary)
        case "exclusion":
            inside = _products(source, "inside", priced)
            _refuse_both(source, "inside", products, inside)
            return Exclusion(rule_id, products, inside)
        case _:
            return _bundle(source, rule_id, products)


def _bundle(source: YamlMap, rule_id: str, products: tuple[str, ...]) -> Bundle:
    shares: dict[str, Fraction] = {}
    title: dict[str, str] = {}
    unit: dict[str, str] = {}
    needs_all = source.one_of("needs", ("all", "any"), default="all") == "all"
    if source.has("shares"):
        part = source.map("shares")
        shares = {product: Fraction(part.decimal(product)) for product in products}
        part.finish()
        if sum(shares.values()) != 1:
            source.problem("shares", "must sum to 1")
        if not needs_all:
            source.problem("shares", "go with `needs: all` only: a missing product has no line for its part")
    else:
        title, unit = by_language(source, "title"), by_language(source, "unit")
    return Bundle(rule_id, products, needs_all, source.decimal("unit_price"), shares, title, unit)


def _products(source: YamlMap, key: str, priced: Set[str]) -> tuple[str, ...]:
    names = source.texts(key)
    if not names:
        source.problem(key, "needs a list with at least one product")
    if len(set(names)) < len(names):
        source.problem(key, "names a product twice")
    for name in names:
        if name not in priced:
            source.problem(key, f"{name} has no price in this contract")
    return names


def require_quantities(source: YamlMap, products: Sequence[str], rates: Sequence[Rate]) -> None:
    """What a rule leaves of a price is left of a quantity; a peak or a count of events has no part."""
    for rate in rates:
        if rate.product in products and rate.pricing.is_metered and rate.measure != QUANTITY:
            source.problem(
                "products", f"{rate.id} counts by `measure: {rate.measure}`; a rule needs quantities"
            )


def _fractions(source: YamlMap) -> tuple[Fraction, ...]:
    """Each from 0 to 1, for the first case, the second, and so on."""
    try:
        found = tuple(Fraction(Decimal(text)) for text in source.texts("fractions"))
    except (ArithmeticError, ValueError):
        found = ()
    if not found or any(not 0 <= fraction <= 1 for fraction in found):
        source.problem("fractions", "needs a list of numbers from 0 to 1, like [1, 0.5]")
    return found or (Fraction(1),)


def _refuse_both(source: YamlMap, key: str, products: tuple[str, ...], others: tuple[str, ...]) -> None:
    for product in sorted(set(products) & set(others)):
        source.problem(key, f"{product} cannot stand in for itself")


def _has_circle(exclusions: list[Exclusion]) -> bool:
    """Two products that are each part of the other would both be free."""
    parents: dict[str, set[str]] = {}
    for rule in exclusions:
        for product in rule.products:
            parents.setdefault(product, set()).update(rule.inside)
    reached = {product: set(direct) for product, direct in parents.items()}
    for _ in parents:
        for above in reached.values():
            above.update(*(parents.get(one, set()) for one in above))
    return any(product in above for product, above in reached.items())
