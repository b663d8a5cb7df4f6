"""Contract: what a seller and a buyer agreed, read from YAML and checked line by line."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from billing import document_terms, yaml_reader
from billing.document_terms import DocumentTerms
from billing.money import EXPONENTS
from billing.period import Period, is_period_start, local_midnight, period_of
from billing.pricing.flat import Flat
from billing.pricing.graduated import Graduated
from billing.pricing.package import Package
from billing.pricing.per_unit import PerUnit
from billing.pricing.tier import Tier, find_tier_problem
from billing.pricing.volume import Volume
from billing.yaml_reader import YamlMap

Pricing = PerUnit | Flat | Graduated | Volume | Package
LANGUAGES = ("en", "zh")
POLICIES = ("delivered-1",)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_PREFIX = re.compile(r"[A-Z0-9]{1,12}")


@dataclass(frozen=True)
class Party:
    """One side of a contract as it is printed.

    id: names the legal entity within the tenant; statement numbers run per seller id.
    """

    id: str
    name: str
    address: tuple[str, ...] = ()
    tax_id: str = ""
    bank_details: tuple[str, ...] = ()
    number_prefix: str = "ST"


@dataclass(frozen=True)
class TaxRule:
    """rate: a fraction (0.06 for 6 %) of prices that exclude it."""

    name: str
    rate: Decimal


@dataclass(frozen=True)
class Rate:
    """A product and its price.

    title, unit: text by language. free_allowance: units at zero in each period, before the price applies.
    """

    product: str
    title: Mapping[str, str]
    unit: Mapping[str, str]
    pricing: Pricing
    free_allowance: Decimal = Decimal(0)


@dataclass(frozen=True)
class Contract:
    """One version of an agreement. Prices exclude tax; `currency` is ISO 4217, `time_zone` IANA.

    effective_from: local day from whose midnight this version is in force.
    billable_policy: the version of the rules in `billing.decide` that tell what may be charged.
    """

    name: str
    seller: Party
    buyer: Party
    currency: str
    time_zone: str
    anchor_day: int
    effective_from: date
    payment_terms_days: int
    billable_policy: str
    tax: TaxRule
    rates: tuple[Rate, ...]
    source_sha256: str
    documents: DocumentTerms = document_terms.NONE

    @property
    def effective_at(self) -> datetime:
        return local_midnight(self.effective_from, self.time_zone)

    @property
    def products(self) -> frozenset[str]:
        return frozenset(rate.product for rate in self.rates)

    def rate_of(self, product: str) -> Rate | None:
        return next((rate for rate in self.rates if rate.product == product), None)

    def is_period_start(self, day: date) -> bool:
        return is_period_start(day, self.anchor_day)

    def period_of(self, instant: datetime, first_day: date | None = None) -> Period | None:
        """The billing period of `instant`; `first_day`: when the contract's first version began."""
        return period_of(instant, self.time_zone, self.anchor_day, first_day or self.effective_from)


@lru_cache(maxsize=256)
def load(text: str) -> Contract:
    """Read a contract; raises `ContractError` with every problem and its line."""
    reader, top = yaml_reader.parse(text)
    contract = Contract(
        name=_name(top, "contract"),
        seller=_party(top, "seller", is_seller=True),
        buyer=_party(top, "buyer", is_seller=False),
        currency=_currency(top),
        time_zone=_time_zone(top),
        anchor_day=top.integer("anchor_day", 1, 31, default=1),
        effective_from=top.day("effective_from"),
        payment_terms_days=top.integer("payment_terms_days", 0, 365, default=30),
        billable_policy=top.one_of("billable_policy", POLICIES, default=POLICIES[0]),
        tax=_tax(top),
        rates=_rates(top),
        source_sha256=hashlib.sha256(text.encode()).hexdigest(),
        documents=document_terms.read(top),
    )
    top.finish()
    reader.raise_problems()
    return contract


def _name(source: YamlMap, key: str) -> str:
    text = source.text(key)
    if text and not _NAME.fullmatch(text):
        source.problem(key, "needs lower-case letters, digits, - and _, at most 64")
    return text


def _party(top: YamlMap, key: str, is_seller: bool) -> Party:
    source = top.map(key)
    prefix = source.text("number_prefix", "ST") if is_seller else ""
    if is_seller and not _PREFIX.fullmatch(prefix):
        source.problem("number_prefix", "needs 1 to 12 capital letters and digits")
    party = Party(
        id=_name(source, "id"),
        name=source.text("name"),
        address=source.texts("address"),
        tax_id=source.text("tax_id", ""),
        bank_details=source.texts("bank_details") if is_seller else (),
        number_prefix=prefix,
    )
    source.finish()
    return party


def _currency(top: YamlMap) -> str:
    code = top.text("currency")
    if code and code not in EXPONENTS:
        top.problem("currency", "is not an ISO 4217 code like CNY")
    return code


def _time_zone(top: YamlMap) -> str:
    name = top.text("time_zone")
    if name in available_timezones():
        return ZoneInfo(name).key
    if name:
        top.problem("time_zone", "is not an IANA name like Asia/Shanghai")
    return "UTC"


def _tax(top: YamlMap) -> TaxRule:
    source = top.map("tax")
    rate = source.decimal("rate")
    if rate >= 1:
        source.problem("rate", "is a fraction: 0.06 for 6 %")
    rule = TaxRule(source.text("name"), rate)
    source.finish()
    return rule


def _rates(top: YamlMap) -> tuple[Rate, ...]:
    rates: list[Rate] = []
    for source in top.maps("rates"):
        rate = Rate(
            product=_name(source, "product"),
            title=_by_language(source, "title"),
            unit=_by_language(source, "unit"),
            pricing=_pricing(source.map("price")),
            free_allowance=source.decimal("free_allowance", default=Decimal(0)),
        )
        if rate.free_allowance and isinstance(rate.pricing, Flat):
            source.problem("free_allowance", "does not go with a flat price")
        if any(rate.product == other.product for other in rates):
            source.problem("product", "has a price above already")
        source.finish()
        rates.append(rate)
    return tuple(rates)


def _by_language(source: YamlMap, key: str) -> dict[str, str]:
    names = source.map(key)
    texts = {language: names.text(language) for language in LANGUAGES}
    names.finish()
    return texts


def _pricing(source: YamlMap) -> Pricing:
    model = source.one_of("model", ("per_unit", "flat", "graduated", "volume", "package"))
    pricing: Pricing
    match model:
        case "per_unit":
            pricing = PerUnit(source.decimal("unit_price"))
        case "flat":
            proration = source.one_of("proration", ("by_day", "none"), default="by_day")
            pricing = Flat(source.decimal("amount"), is_prorated=proration == "by_day")
        case "package":
            smallest = Decimal("0.000001")
            pricing = Package(source.decimal("size", minimum=smallest), source.decimal("package_price"))
        case "graduated":
            pricing = Graduated(_tiers(source))
        case _:
            pricing = Volume(_tiers(source))
    source.finish()
    return pricing


def _tiers(source: YamlMap) -> tuple[Tier, ...]:
    tiers = []
    for item in source.maps("tiers"):
        up_to = item.decimal("up_to") if item.has("up_to") else None
        tiers.append(Tier(up_to, item.decimal("unit_price"), item.decimal("flat_fee", default=Decimal(0))))
        item.finish()
    problem = find_tier_problem(tuple(tiers))
    if tiers and problem:
        source.problem("tiers", f": {problem}")
    return tuple(tiers)
