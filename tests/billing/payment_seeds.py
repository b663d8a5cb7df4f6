"""A hospital that owes: a contract, an issued statement, parties; shared by tests of payments and rails."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from billing.cash import give_back, payments
from billing.contracts import store
from billing.metering import meter
from billing.metering.usage import UsageEvent
from billing.money import Money
from billing.rails import rail_address
from billing.statements import statement
from billing.statements.statement_record import Statement

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TENANT = "hospital-a"
PAYER = "demo-hospital"
NOVEMBER = datetime(2026, 11, 20, tzinfo=UTC)
NOW = datetime(2027, 1, 2, 9, tzinfo=UTC)
Connection = psycopg.Connection[Any]


def cny(amount_minor: int) -> Money:
    return Money(amount_minor, "CNY")


def add_contract(conn: Connection, tenant: str, name: str = "contract_per_case.yaml") -> int:
    return store.add_contract(conn, tenant, (EXAMPLES / name).read_text())


def issue_month(
    conn: Connection, tenant: str, contract_id: int, events: list[UsageEvent], month: datetime = NOVEMBER
) -> Statement:
    """Issue the statement of a month in which `events` were delivered: 106.00 CNY each with tax."""
    for event in events:
        assert meter.record(conn, event, received_at=event.occurred_at).is_billable
    return statement.issue(conn, tenant, contract_id, month, now=NOW, nil=True)


def receive(
    conn: Connection, tenant: str, payer_id: str, amount_minor: int, external_id: str = "line-1", **more: Any
) -> payments.Payment:
    values: dict[str, Any] = {"source": "bank", "received_at": NOW, "by": "lin", "now": NOW}
    return payments.receive(
        conn,
        tenant,
        payer_id=payer_id,
        amount=cny(amount_minor),
        external_id=external_id,
        **{**values, **more},
    )


def allocate(
    conn: Connection, payment_id: int, statement_id: int, amount_minor: int | None = None
) -> payments.Allocation:
    return payments.allocate(conn, TENANT, payment_id, statement_id, amount_minor, by="lin", now=NOW)


def balance(conn: Connection, account: str) -> int:
    row = conn.execute(
        "SELECT coalesce(sum(amount_minor), 0)::bigint AS s FROM billing.posting WHERE account = %s",
        (account,),
    ).fetchone()
    assert row is not None
    return int(row["s"])


def add_address(conn: Connection, tenant: str, party_id: str, **changes: Any) -> None:
    """Where a party is paid; by bank unless `changes` say otherwise."""
    values = {"rail": "bank", "direction": "out", "account": "DE89370400440532013000", "holder": "A holder"}
    address = rail_address.RailAddress(party_id, **{**values, **changes})
    rail_address.keep(conn, tenant, address, requested_by="lin", approved_by="wang", now=NOW)


def fill_payment_tables(conn: Connection, tenant: str, statement_id: int) -> None:
    """A row in each table of payments and rails."""
    payment = receive(conn, tenant, "demo-hospital", 10000)
    payments.allocate(conn, tenant, payment.payment_id, statement_id, 100, by="lin", now=NOW)
    add_address(conn, tenant, "demo-hospital")
    people: dict[str, Any] = {"requested_by": "lin", "approved_by": "wang", "reason": "a reason", "now": NOW}
    give_back.refund(conn, tenant, payment.payment_id, 100, **people)
    give_back.write_off(conn, tenant, statement_id, 100, **people)
