"""The rates of a contract: which usage each one prices, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from billing.contracts.party_terms import Party
from billing.contracts.yaml_reader import YamlMap, name_of
from billing.metering.usage import DIMENSIONS, RESULT_METER, is_priced_meter
from billing.pricing import models
from billing.pricing.models import Pricing
from billing.pricing.percentage import Percentage

LANGUAGES = ("en", "zh")
MEASURES = ("quantity", "events", "peak")
FILTER_DIMENSIONS_MAX = 6


@dataclass(frozen=True)
class Rate:
    """A price and the usage that it prices. Of a product's rates the first that matches an event takes it.

    id: names the rate in the contract; a line's key begins with it.
    title, unit: text by language. free_allowance: units at zero in each period, before the price applies.
    when: dimension → values; all must match. Empty: everything.
    meter: of the events that it prices: `result` for delivered results, else what a use was recorded under.
    measure: the sum of their quantities, their number, or the highest quantity of one of them.
    is_per_term: allowance and tiers count over the contract's term, not anew in each period.
    starts_on, ends_before: first days of periods between which the rate holds; None: no limit.
    """

    product: str
    title: Mapping[str, str]
    unit: Mapping[str, str]
    pricing: Pricing
    free_allowance: Decimal = Decimal(0)
    id: str = ""
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    meter: str = RESULT_METER
    measure: str = MEASURES[0]
    is_per_term: bool = False
    starts_on: date | None = None
    ends_before: date | None = None

    def matches(self, dimensions: Mapping[str, str]) -> bool:
        return all(dimensions.get(name, "") in values for name, values in self.when.items())

    def is_in_force(self, day: date) -> bool:
        """Whether the rate holds in the period that begins on `day`."""
        has_begun = self.starts_on is None or self.starts_on <= day
        return has_begun and (self.ends_before is None or day < self.ends_before)


def read(top: YamlMap, parties: Mapping[str, Party], currency: str) -> tuple[Rate, ...]:
    """`rates`, in the order of the file. parties: by id, the buyer first. currency: the contract's."""
    rates: list[Rate] = []
    for source in top.maps("rates"):
        rate = _rate(source, parties, currency)
        if any(rate.id == other.id for other in rates):
            source.problem(
                "id" if source.has("id") else "product", "has a price above already; give it an `id`"
            )
        rates.append(rate)
    names = {name for rate in rates for name in rate.when}
    if len(names) > FILTER_DIMENSIONS_MAX:
        top.problem("rates", f"filter by more than {FILTER_DIMENSIONS_MAX} dimensions")
    return tuple(rates)


def takers(rates: tuple[Rate, ...], product: str, meter: str) -> tuple[Rate, ...]:
    """The rates that take the events of a product and meter: those that count, else its fixed fee."""
    own = tuple(rate for rate in rates if (rate.product, rate.meter) == (product, meter))
    return tuple(rate for rate in own if rate.pricing.is_metered) or own


def by_language(source: YamlMap, key: str) -> dict[str, str]:
    """A text in each language."""
    names = source.map(key)
    texts = {language: names.text(language) for language in LANGUAGES}
    names.finish()
    return texts


def _rate(source: YamlMap, parties: Mapping[str, Party], currency: str) -> Rate:
    price = source.map("price")
    if price.text("currency", currency) != currency:
        price.problem("currency", f"is not {currency}, the contract's: one contract has one currency")
    product = name_of(source, "product")
    rate = Rate(
        product=product,
        title=by_language(source, "title"),
        unit=by_language(source, "unit"),
        pricing=models.read(price, parties),
        free_allowance=source.decimal("free_allowance", default=Decimal(0)),
        id=name_of(source, "id", product),
        when=_when(source),
        meter=_meter(source),
        measure=source.one_of("measure", MEASURES, default=MEASURES[0]),
        is_per_term=source.one_of("over", ("period", "term"), default="period") == "term",
        starts_on=source.day_or_none("from"),
        ends_before=source.day_or_none("until"),
    )
    if rate.free_allowance and (not rate.pricing.is_metered or isinstance(rate.pricing, Percentage)):
        source.problem("free_allowance", f"does not go with a {rate.pricing.model} price")
    if rate.is_per_term and not rate.pricing.is_metered:
        source.problem("over", f"does not go with a {rate.pricing.model} price")
    if rate.is_per_term and isinstance(rate.pricing, Percentage) and rate.pricing.has_floor_of_period:
        source.problem("over", "does not go with a floor: a commitment has the minimum of a term")
    source.finish()
    return rate


def _meter(source: YamlMap) -> str:
    meter = source.text("meter", RESULT_METER)
    if meter and not is_priced_meter(meter):
        source.problem("meter", f"is no meter that a price can count: `{RESULT_METER}`, or what a use names")
    return meter


def _when(source: YamlMap) -> dict[str, tuple[str, ...]]:
    if not source.has("when"):
        return {}
    filters = source.map("when")
    for name in filters.names:
        if name not in DIMENSIONS:
            filters.problem(name, f"is no dimension of usage; one of: {', '.join(sorted(DIMENSIONS))}")
    return {name: filters.text_or_texts(name) for name in filters.names}
