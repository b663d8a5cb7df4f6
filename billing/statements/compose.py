"""Compose: everything that the statements of a period say, from contract and usage; drafts and issues alike."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import psycopg

from billing.contracts.contract import Contract
from billing.contracts.store import StoredContract
from billing.money import Money, push_down
from billing.period import Period
from billing.rating import aggregate, patient_charges, shares, tax
from billing.rating.correct import correct
from billing.rating.correct_shares import correct_shares
from billing.rating.rate import RatedLine, Rating, digest_lines
from billing.rating.rate_stored import Rater
from billing.rating.shares import SharedLine
from billing.rating.site_parts import sum_by_place
from billing.statements.statement_record import Statement, StatementLine

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Composition:
    """statements: one for each payer who has a line, the first payer's always and first.

    lines: what the statements' lines come to together, before they were shared out over the payers.
    """

    statements: tuple[Statement, ...]
    lines: tuple[RatedLine, ...]


@dataclass(frozen=True)
class _Rated:
    """What one service period adds to the statements: all of it, or its corrections. bills: lines by payer."""

    contract: Contract
    lines: tuple[RatedLine, ...]
    bills: dict[str, tuple[SharedLine, ...]]
    inputs_digest: str


def compose(
    conn: Connection, tenant: str, stored: StoredContract, period: Period, cutoff: int
) -> Composition:
    """The statements of a period with every decision up to `cutoff`: usage, corrections, tax."""
    contract, contract_id = stored.contract, stored.contract_id
    rater = Rater(conn, tenant, stored, cutoff)
    rating = rater.rate(period)
    current = _Rated(contract, rating.lines, shares.share(contract, rating), rating.inputs_digest)
    late = [
        _correct(conn, tenant, contract_id, rater.contract_of(earlier), rater.rate(earlier))
        for earlier in rater.periods_to_correct(period)
    ]
    template = Statement(
        tenant=tenant,
        contract_id=contract_id,
        contract_name=contract.name,
        contract_version=stored.version,
        contract_sha256=contract.source_sha256,
        seller=contract.seller,
        buyer=contract.buyer,
        payer=contract.buyer,
        currency=contract.currency,
        period=period,
        lines=(),
        taxes=(),
        not_charged=aggregate.not_charged(conn, tenant, contract_id, period, cutoff),
        charged_event_count=rating.event_count,
        quarantined_count=aggregate.quarantined_count(conn, tenant, contract_id, period, cutoff),
        cutoff_sequence=cutoff,
        inputs_digest=_join_digests([current.inputs_digest, *(one.inputs_digest for one in late)]),
        output_digest="",
        payment_terms_days=contract.payment_terms_days,
        patient_charges=patient_charges.of_period(conn, tenant, contract_id, contract, period, cutoff),
    )
    everything = [current, *late]
    return Composition(
        statements=tuple(_statements(template, everything)),
        lines=tuple(line for one in everything for line in one.lines),
    )


def _statements(template: Statement, rated: Sequence[_Rated]) -> Iterable[Statement]:
    lead, *_ = payers = list(dict.fromkeys(payer for one in rated for payer in one.bills))
    for payer in payers:
        lines = [line for one in rated for line in one.bills.get(payer, ())]
        if not lines and payer != lead:
            continue
        party = next(found for one in rated if (found := one.contract.party(payer)))
        tax_lines, taxes = tax.compute([line.rated for line in lines], template.currency)
        numbered = enumerate(zip(lines, taxes, strict=True), start=1)
        stated = tuple(_state(number, line, line_tax) for number, (line, line_tax) in numbered)
        yield template.evolve(
            payer=party,
            lines=stated,
            taxes=tax_lines,
            output_digest=digest_lines(line.rated for line in lines),
            site_totals=sum_by_place((part for line in stated for part in line.sites), template.currency),
        )


def _state(number: int, line: SharedLine, line_tax: Money) -> StatementLine:
    """A line with its tax, pushed down to its sites as the tax of a group is to its lines."""
    parts, rate = line.sites, Fraction(line.rated.tax_rate)
    if not parts:
        return StatementLine(number, line.rated, line_tax)
    keys = ["\0".join(part.place) for part in parts]
    taxes = push_down(line_tax.amount_minor, [part.amount.amount_minor * rate for part in parts], keys)
    sites = (
        replace(part, tax=Money(tax_minor, line_tax.currency))
        for part, tax_minor in zip(parts, taxes, strict=True)
    )
    return StatementLine(number, line.rated, line_tax, tuple(sites))


def _correct(conn: Connection, tenant: str, contract_id: int, contract: Contract, again: Rating) -> _Rated:
    """A billed period rated again under its own version of the contract, less what was billed, for each payer."""
    key = (conn, tenant, contract_id, again.period)
    bills = {
        payer: correct_shares(
            contract,
            again.period,
            lines,
            aggregate.billed_lines(*key, payer),
            aggregate.billed_site_parts(*key, payer),
        )
        for payer, lines in shares.share(contract, again).items()
    }
    whole = correct(contract, again.period, again.lines, aggregate.billed_lines(*key))
    return _Rated(contract, whole, bills, again.inputs_digest)


def _join_digests(digests: list[str]) -> str:
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
