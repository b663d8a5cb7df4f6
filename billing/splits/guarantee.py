"""Minimum guarantee: what a payee earns at least by each billed period, topped up when its payout is stated."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

import psycopg

from billing.contracts import contract as contracts
from billing.contracts.contract import Contract
from billing.money import Money, to_money
from billing.period import Period
from billing.queries import Row, execute, one_row, rows
from billing.splits.payout_record import GuaranteeLine
from billing.splits.terms import Payee, PayeeKind, Split

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Decided:
    contract_id: int
    party_id: str
    line: GuaranteeLine


def decide(
    conn: Connection, tenant: str, seller_id: str, party_id: str, currency: str, until: Period
) -> list[Decided]:
    """The guarantees of billed periods that end by the end of `until` and are not decided yet.

    A period counts what its statement billed, corrections of earlier periods included and credit taken off.
    A period that began inside its month is guaranteed its part by days.
    """
    values = {
        "tenant": tenant,
        "seller_id": seller_id,
        "party_id": party_id,
        "currency": currency,
        "period_end": until.ends_on,
    }
    return [
        _decide(conn, tenant, party_id, row, contract, split, promised)
        for row in rows(conn, "periods_without_guarantee", values)
        for contract in [contracts.load(row["source_text"])]
        for split in contract.splits
        for promised in [_promised(split, party_id, currency, Fraction(row["days"], row["full_days"]))]
        if promised is not None
    ]


def store(conn: Connection, tenant: str, decided: Decided, now: datetime) -> None:
    """Once for each period, also where nothing was topped up."""
    line = decided.line
    execute(
        conn,
        "insert_guarantee",
        {
            "tenant": tenant,
            "contract_id": decided.contract_id,
            "period_start": line.period_start,
            "split": line.split,
            "party_id": decided.party_id,
            "currency": line.top_up.currency,
            "guaranteed_minor": line.guaranteed.amount_minor,
            "earned_minor": line.earned.amount_minor,
            "top_up_minor": line.top_up.amount_minor,
            "decided_at": now,
        },
    )


def guaranteed_parties(contract: Contract) -> set[str]:
    """Who is promised a minimum, whatever is billed."""
    return {c.payee.name for split in contract.splits for c in split.claims if c.guarantee is not None}


def _promised(split: Split, party_id: str, currency: str, part: Fraction) -> Money | None:
    payee = Payee(PayeeKind.PARTY, party_id)
    for claim in split.claims:
        if claim.payee == payee and claim.guarantee is not None:
            return to_money(Fraction(claim.guarantee) * part, currency)
    return None


def _decide(
    conn: Connection,
    tenant: str,
    party_id: str,
    row: Row,
    contract: Contract,
    split: Split,
    promised: Money,
) -> Decided:
    values = {
        "tenant": tenant,
        "contract_id": row["contract_id"],
        "period_start": row["starts_on"],
        "split": split.name,
        "party_id": party_id,
    }
    earned = Money(one_row(conn, "earned_in_period", values)["earned_minor"], promised.currency)
    top_up = Money(max(0, (promised - earned).amount_minor), promised.currency)
    line = GuaranteeLine(
        contract.name, split.name, row["starts_on"], row["ends_on"], promised, earned, top_up
    )
    return Decided(row["contract_id"], party_id, line)
