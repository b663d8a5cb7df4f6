"""Compose: everything that a statement of a period says, from contract and usage; drafts and issues alike."""

from __future__ import annotations

import hashlib
from typing import Any

import psycopg

from billing import aggregate, tax
from billing.correct import correct
from billing.period import Period
from billing.rate import digest_lines
from billing.rate_stored import Rater
from billing.statement_record import Statement, StatementLine
from billing.store import StoredContract

Connection = psycopg.Connection[Any]


def compose(conn: Connection, tenant: str, stored: StoredContract, period: Period, cutoff: int) -> Statement:
    """The statement of a period with every decision up to `cutoff`: usage, corrections, tax."""
    contract, contract_id = stored.contract, stored.contract_id
    rater = Rater(conn, tenant, stored, cutoff)
    rating = rater.rate(period)
    lines, inputs = list(rating.lines), [rating.inputs_digest]
    for earlier in rater.periods_to_correct(period):
        again = rater.rate(earlier)
        billed = aggregate.billed_lines(conn, tenant, contract_id, earlier)
        lines += correct(rater.contract_of(earlier), again, billed)
        inputs.append(again.inputs_digest)
    tax_lines, taxes = tax.compute(lines, contract.currency)
    numbered = enumerate(zip(lines, taxes, strict=True), start=1)
    return Statement(
        tenant=tenant,
        contract_id=contract_id,
        contract_name=contract.name,
        contract_version=stored.version,
        contract_sha256=contract.source_sha256,
        seller=contract.seller,
        buyer=contract.buyer,
        currency=contract.currency,
        period=period,
        lines=tuple(StatementLine(number, line, line_tax) for number, (line, line_tax) in numbered),
        taxes=tax_lines,
        not_charged=aggregate.not_charged(conn, tenant, contract_id, period, cutoff),
        charged_event_count=rating.event_count,
        quarantined_count=aggregate.quarantined_count(conn, tenant, contract_id, period, cutoff),
        cutoff_sequence=cutoff,
        inputs_digest=_join_digests(inputs),
        output_digest=digest_lines(lines),
        payment_terms_days=contract.payment_terms_days,
    )


def _join_digests(digests: list[str]) -> str:
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
