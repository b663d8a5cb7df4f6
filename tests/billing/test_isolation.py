"""A tenant sees only its own rows: every query names the tenant, and row-level security stands behind."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
import pytest

from billing.books import ledger
from billing.contracts import store
from billing.errors import ContractNotFound, StatementNotFound
from billing.metering import meter
from billing.metering.usage import UsageEvent
from billing.statements import statement
from tests.billing.payment_seeds import fill_payment_tables

NOVEMBER = datetime(2026, 11, 20, tzinfo=UTC)
MakeEvent = Callable[..., UsageEvent]


@pytest.fixture
def two_hospitals(transact, per_case: str, make_event: MakeEvent) -> dict[str, tuple[int, int]]:
    """Two tenants with the same contract, events and cases: (contract id, statement id) of each."""
    made = {}
    for tenant in ("hospital-a", "hospital-b"):
        with transact(tenant) as conn:
            contract_id = store.add_contract(conn, tenant, per_case)
            assert meter.record(conn, make_event(1, tenant=tenant)).is_billable
            issued = statement.issue(
                conn, tenant, contract_id, NOVEMBER, now=datetime(2026, 12, 2, tzinfo=UTC)
            )
            assert issued.statement_id is not None
            fill_payment_tables(conn, tenant, issued.statement_id)
            made[tenant] = (contract_id, issued.statement_id)
    return made


def tables(conn) -> list[str]:
    rows = conn.execute(
        """SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE nspname = 'billing' AND relkind IN ('r', 'v') ORDER BY relname"""
    ).fetchall()
    return [row["relname"] for row in rows]


def test_every_table_has_forced_row_level_security(owner) -> None:
    rows = owner.execute(
        """SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE nspname = 'billing' AND relkind = 'r' AND NOT (relrowsecurity AND relforcerowsecurity)"""
    ).fetchall()
    assert rows == []
    assert len(tables(owner)) >= 16


def test_without_where_a_tenant_sees_only_its_own(transact, two_hospitals, owner) -> None:
    filled = 0
    for table in tables(owner):
        query = f"SELECT DISTINCT tenant FROM billing.{table}"
        everything = {row["tenant"] for row in owner.execute(query)}
        if not everything:  # the fixture has nothing for it; its own tests fill it
            continue
        filled += 1
        assert everything == {"hospital-a", "hospital-b"}, table
        for tenant in ("hospital-a", "hospital-b"):
            with transact(tenant) as conn:
                assert conn.execute(query).fetchall() == [{"tenant": tenant}], table
    assert filled >= 16


def test_without_a_tenant_nothing_is_seen_or_written(
    transact, two_hospitals, owner, make_event: MakeEvent
) -> None:
    for table in tables(owner):
        with transact(None) as conn:
            assert conn.execute(f"SELECT 1 FROM billing.{table}").fetchall() == [], table
    with transact(None) as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        meter.record(conn, make_event(2))


def test_asking_for_another_tenants_rows_by_id_finds_nothing(
    transact, two_hospitals, make_event: MakeEvent
) -> None:
    contract_b, statement_b = two_hospitals["hospital-b"]
    with transact("hospital-a") as conn:
        for tenant in ("hospital-a", "hospital-b"):
            with pytest.raises(StatementNotFound):
                store.get_statement(conn, tenant, statement_b)
            with pytest.raises(ContractNotFound):
                statement.draft(conn, tenant, contract_b, NOVEMBER)
        assert store.list_usage(conn, "hospital-b") == []
        assert store.usage_for_study(conn, "hospital-b", "study-1") == []
        assert store.list_statements(conn, "hospital-b") == []
        assert store.list_contracts(conn, "hospital-b") == []
    with transact("hospital-a") as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        meter.record(conn, make_event(2, tenant="hospital-b"))


def test_the_queries_name_the_tenant_themselves(two_hospitals, owner) -> None:
    """The first wall, with the second one down: the owner is not held by row-level security."""
    contract_b, statement_b = two_hospitals["hospital-b"]
    with pytest.raises(StatementNotFound):
        store.get_statement(owner, "hospital-a", statement_b)
    with pytest.raises(ContractNotFound):
        statement.draft(owner, "hospital-a", contract_b, NOVEMBER)
    assert [row.event.tenant for row in store.list_usage(owner, "hospital-a")] == ["hospital-a"]
    assert [one.tenant for one in store.list_statements(owner, "hospital-a")] == ["hospital-a"]
    assert ledger.check(owner, "hospital-a") == []


def test_the_application_may_not_switch_the_guards_off(transact) -> None:
    for query in (
        "ALTER TABLE billing.usage_event DISABLE TRIGGER ALL",
        "ALTER TABLE billing.usage_event DISABLE ROW LEVEL SECURITY",
        "DROP TABLE billing.posting",
        "SET session_replication_role = replica",
        "DELETE FROM billing.usage_event",
        "UPDATE billing.statement SET number = 'x'",
        "TRUNCATE billing.posting",
    ):
        with transact() as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(query)
