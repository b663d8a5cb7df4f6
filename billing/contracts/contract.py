"""Contract: what a seller and a buyer agreed, read from YAML and checked line by line.

Each section of the file has a module of its own, `<word>_terms.py`; a new section is such a module, a field with
a default here and a line in `load`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from billing.contracts import (
    case_rules_terms,
    commitment_terms,
    document_terms,
    limits_terms,
    outcome_terms,
    party_terms,
    payer_terms,
    price_list_terms,
    rate_cover,
    rate_terms,
    safety_terms,
    site_terms,
    term,
    yaml_reader,
)
from billing.contracts.case_rules_terms import Bundle, CaseRule
from billing.contracts.commitment_terms import Commitment
from billing.contracts.document_terms import DocumentTerms
from billing.contracts.limits_terms import NO_LIMITS, LimitsTerms
from billing.contracts.outcome_terms import OutcomeTerms
from billing.contracts.party_terms import Party
from billing.contracts.payer_terms import PayerTerms
from billing.contracts.price_list_terms import PriceItem
from billing.contracts.rate_terms import Rate
from billing.contracts.safety_terms import SafetyTerms
from billing.contracts.site_terms import SiteTerms
from billing.contracts.term import Term
from billing.contracts.yaml_reader import YamlMap, name_of
from billing.metering.usage_totals import Grouping
from billing.money import EXPONENTS, exponent
from billing.period import Period, is_period_start, local_midnight, period_of
from billing.pricing.percentage import Percentage
from billing.pricing.subscription import Subscription
from billing.splits import read_terms
from billing.splits.terms import LiabilityShare, Split

GROUP_DIMENSIONS_MAX = 10
POLICIES = ("delivered-1",)


@dataclass(frozen=True)
class TaxRule:
    """rate: a fraction (0.06 for 6 %) of prices that exclude it."""

    name: str
    rate: Decimal


@dataclass(frozen=True)
class Contract:
    """One version of an agreement. Prices exclude tax; `currency` is ISO 4217, `time_zone` IANA.

    effective_from: local day from whose midnight this version is in force.
    billable_policy: the version of the rules in `billing.decide` that tell what may be charged.
    parties: everyone but the seller and the buyer.
    splits: the first that covers a line divides it. reserve: divides an amount put by for each case.
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
    parties: tuple[Party, ...] = ()
    limits: LimitsTerms = NO_LIMITS
    splits: tuple[Split, ...] = ()
    liability: tuple[LiabilityShare, ...] = ()
    reserve: Split | None = None
    commitments: tuple[Commitment, ...] = ()
    term: Term | None = None
    case_rules: tuple[CaseRule, ...] = ()
    price_list: tuple[PriceItem, ...] = ()
    payers: PayerTerms = payer_terms.BUYER_PAYS
    site_statements: SiteTerms | None = None
    outcome: OutcomeTerms | None = None
    safety: SafetyTerms = safety_terms.DEFAULT

    @property
    def effective_at(self) -> datetime:
        return local_midnight(self.effective_from, self.time_zone)

    @property
    def products(self) -> frozenset[str]:
        return frozenset(rate.product for rate in self.rates)

    @property
    def grouping(self) -> Grouping:
        """What prices, payers and statements by site tell apart; `site` too where a site's facts count."""
        names = {name for rate in self.rates for name in rate.when}
        if any(names & party.facts.keys() for party in self.parties):
            names.add("site")
        names |= self.payers.dimensions | set(self.site_statements.by if self.site_statements else ())
        shares = [rate.pricing for rate in self.rates if isinstance(rate.pricing, Percentage)]
        thresholds = {one for share in shares for one in share.thresholds(exponent(self.currency))}
        return Grouping(tuple(sorted(names)), tuple(sorted(thresholds)), is_shared=bool(shares))

    @property
    def needs_term(self) -> bool:
        yearly = (rate.pricing for rate in self.rates if isinstance(rate.pricing, Subscription))
        return self.counts_over_term or any(one.is_per_term for one in yearly)

    @property
    def counts_over_term(self) -> bool:
        """Whether what a period bills depends on the earlier periods of its term."""
        return any(source.is_per_term for source in self._sources)

    @property
    def _sources(self) -> tuple[Rate | Commitment, ...]:
        return (*self.rates, *self.commitments)

    def rate_by_id(self, rate_id: str) -> Rate | None:
        return next((rate for rate in self.rates if rate.id == rate_id), None)

    def source_of(self, line_key: str) -> Rate | Commitment | Bundle | None:
        """The rate, the commitment or the bundle that a line comes from."""
        name = line_key.split("/")[0]
        bundles = [rule for rule in self.case_rules if isinstance(rule, Bundle)]
        return next((source for source in (*self._sources, *bundles) if source.id == name), None)

    def publisher_of(self, rate_id: str) -> str | None:
        """Whose model a rate is for, where it says so: its one value of the dimension `publisher`."""
        rate = self.rate_by_id(rate_id)
        publishers = rate.when.get("publisher", ()) if rate else ()
        return publishers[0] if len(publishers) == 1 else None

    def party(self, party_id: str) -> Party | None:
        """Anyone whom the contract names, the seller and the buyer included."""
        everyone = (self.seller, self.buyer, *self.parties)
        return next((party for party in everyone if party.id == party_id), None)

    def is_period_start(self, day: date) -> bool:
        return is_period_start(day, self.anchor_day)

    def period_of(self, instant: datetime, first_day: date | None = None) -> Period | None:
        """The billing period of `instant`; `first_day`: when the contract's first version began."""
        return period_of(instant, self.time_zone, self.anchor_day, first_day or self.effective_from)


@lru_cache(maxsize=256)
def load(text: str) -> Contract:
    """Read a contract; raises `ContractError` with every problem and its line."""
    reader, top = yaml_reader.parse(text)
    seller = party_terms.read_side(top, "seller", is_seller=True)
    buyer = party_terms.read_side(top, "buyer", is_seller=False)
    currency, anchor_day = _currency(top), top.integer("anchor_day", 1, 31, default=1)
    parties = party_terms.read(top, (seller, buyer))
    rates = rate_terms.read(top, {party.id: party for party in (buyer, seller, *parties)}, currency)
    names = [party.id for party in (seller, buyer, *parties)]
    liability, reserve = read_terms.read_liability(top, names)
    case_rules = case_rules_terms.read(top, rates)
    bundles = [rule for rule in case_rules if isinstance(rule, Bundle)]
    contract = Contract(
        name=name_of(top, "contract"),
        seller=seller,
        buyer=buyer,
        currency=currency,
        time_zone=_time_zone(top),
        anchor_day=anchor_day,
        effective_from=top.day("effective_from"),
        payment_terms_days=top.integer("payment_terms_days", 0, 365, default=30),
        billable_policy=top.one_of("billable_policy", POLICIES, default=POLICIES[0]),
        tax=_tax(top),
        rates=rates,
        source_sha256=hashlib.sha256(text.encode()).hexdigest(),
        documents=document_terms.read(top),
        safety=safety_terms.read(top),
        limits=limits_terms.read(top, {rate.product for rate in rates}, currency),
        parties=parties,
        splits=read_terms.read_splits(top, names, (*rates, *bundles)),
        liability=liability,
        reserve=reserve,
        commitments=commitment_terms.read(top, rates),
        term=term.read(top, anchor_day),
        case_rules=case_rules,
        price_list=price_list_terms.read(top, rates),
        payers=payer_terms.read(top, buyer, parties),
        site_statements=site_terms.read(top, parties),
        outcome=outcome_terms.read(top, rates, case_rules),
    )
    if len(contract.grouping.names) > GROUP_DIMENSIONS_MAX:
        top.problem(
            "rates", f"payers and sites tell usage apart by more than {GROUP_DIMENSIONS_MAX} dimensions"
        )
    if len(contract.payers.payers) > 1:
        read_terms.require_no_counting(top, contract.splits, reserve)
    top.finish()
    if contract.term is None and contract.needs_term:
        top.problem("rates", "count over a term: say `term: {months: 12, from: 2026-01-01}`")
    if not reader.problems:  # what is read wrong would be explained a second time
        for number, problem in rate_cover.problems(
            contract.rates, contract.effective_from, contract.anchor_day
        ):
            top.problem_of_item("rates", number, problem)
    reader.raise_problems()
    return contract


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
