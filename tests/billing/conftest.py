"""A migrated database, connections as the portal and workers have them, and events to bill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from billing.books import accounting, ledger
from billing.cash import give_back, payments
from billing.claims import credit_notes
from billing.contracts import store
from billing.metering import meter
from billing.metering.usage import UsageEvent
from tests.billing import payment_seeds
from tests.billing.limits_builders import with_limits
from tests.billing.payment_seeds import NOW, PAYER, add_address, allocate, receive

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TENANT = "hospital-a"

Connection = psycopg.Connection[dict[str, Any]]
Transact = Callable[..., AbstractContextManager[Connection]]


@pytest.fixture
def transact(migrated_url: str) -> Transact:
    """`with transact() as conn`: one transaction under the role that obeys row-level security."""

    @contextmanager
    def transaction(tenant: str | None = TENANT) -> Iterator[Connection]:
        with psycopg.connect(migrated_url, row_factory=dict_row) as conn:
            conn.execute("SET LOCAL ROLE radmeter_app")
            if tenant is not None:
                conn.execute("SELECT set_config('radmeter.tenant', %s, true)", (tenant,))
            yield conn

    return transaction


@pytest.fixture
def owner(migrated_url: str) -> Iterator[Connection]:
    """A connection as the owner of the tables, each statement its own transaction."""
    with psycopg.connect(migrated_url, row_factory=dict_row, autocommit=True) as conn:
        yield conn


@pytest.fixture
def per_case() -> str:
    return (EXAMPLES / "contract_per_case.yaml").read_text()


@pytest.fixture
def graduated() -> str:
    return (EXAMPLES / "contract_graduated.yaml").read_text()


@pytest.fixture
def package() -> str:
    return (EXAMPLES / "contract_package.yaml").read_text()


# 2026-11-10 12:00 in Shanghai
NOON = datetime(2026, 11, 10, 4, tzinfo=UTC)


@pytest.fixture
def make_event() -> Callable[..., UsageEvent]:
    """`make_event(3)`: the third delivery, ten minutes after the second; any field can be given."""

    def make(number: int, **changes: Any) -> UsageEvent:
        values: dict[str, Any] = {
            "tenant": TENANT,
            "source": "test",
            "event_id": f"delivery:{number}",
            "kind": "result_delivered",
            "product": "lung_nodule_ct",
            "quantity": Decimal(1),
            "occurred_at": NOON + timedelta(minutes=10 * number),
            "study_ref": f"study-{number}",
            "case_key": f"case-{number}",
        }
        return UsageEvent(**{**values, **changes})

    return make


@pytest.fixture
def owing(transact: Transact, make_event: Callable[..., UsageEvent]) -> list[int]:
    """Ids of two statements of the demo hospital: November of 212.00 CNY, December of 106.00."""
    december = datetime(2026, 12, 20, tzinfo=UTC)
    with transact() as conn:
        contract_id = payment_seeds.add_contract(conn, TENANT)
        events = [make_event(1), make_event(2)]
        first = payment_seeds.issue_month(conn, TENANT, contract_id, events)
        late = [make_event(3, occurred_at=december)]
        second = payment_seeds.issue_month(conn, TENANT, contract_id, late, month=december)
    return [one.statement_id or 0 for one in (first, second)]


@pytest.fixture
def happen(transact: Transact, make_event: Callable[..., UsageEvent]) -> Callable[..., tuple[str, str]]:
    """`happen(3, "screening", member="m1")`: (outcome, reason) of the third event."""

    def record(number: int, product: str, *, member: str | None = "m1", **changes: object) -> tuple[str, str]:
        dimensions = {"member": member} if member else {}
        with transact() as conn:
            event = make_event(number, product=product, dimensions=dimensions, **changes)
            decision = meter.record(conn, event, received_at=event.occurred_at)
        return str(decision.outcome), str(decision.reason_code)

    return record


@pytest.fixture
def add(transact, per_case: str):
    """`add(QUOTA)`: the contract of 100 yuan a case with these limits; its id."""

    def contract(*items: str, text: str = per_case) -> int:
        with transact() as conn:
            return store.add_contract(conn, TENANT, with_limits(text, *items))

    return contract


@pytest.fixture
def deliver(transact, make_event):
    """`deliver(1, 2, site="north")`: two deliveries at noon."""

    def record(
        *numbers: int, at: datetime = NOON, product: str = "lung_nodule_ct", **dimensions: str
    ) -> None:
        with transact() as conn:
            for number in numbers:
                event = make_event(number, occurred_at=at, product=product, dimensions=dimensions)
                meter.record(conn, event, received_at=at)

    return record


@pytest.fixture
def whole_books(transact, owing) -> list[int]:
    """Two statements; a credit in thirds, payments, an allocation taken back, a refund, a write-off, a closed month."""
    november, december = owing
    with transact() as conn:
        for _ in range(2):
            credit_notes.issue(
                conn, TENANT, november, [(1, Fraction(1, 3))], reason="late report", by="lin", now=NOW
            )
        first, second = receive(conn, TENANT, PAYER, 20000), receive(conn, TENANT, PAYER, 5000, "line-2")
        kept = allocate(conn, first.payment_id, november, 7000)
        allocate(conn, second.payment_id, december, 5000)
        payments.unallocate(
            conn, TENANT, kept.allocation_id, 500, reason="wrong statement", by="lin", now=NOW
        )
        give_back.write_off(
            conn,
            TENANT,
            december,
            600,
            reason="bank charges",
            requested_by="lin",
            approved_by="wang",
            now=NOW,
        )
        add_address(conn, TENANT, PAYER)
        give_back.refund(
            conn,
            TENANT,
            first.payment_id,
            100,
            reason="paid twice",
            requested_by="lin",
            approved_by="wang",
            now=NOW,
        )
        month = accounting.month_named(conn, TENANT, "2026-11")
        accounting.begin_closing(conn, TENANT, month, by="lin", now=NOW)
        accounting.close(conn, TENANT, month, requested_by="lin", approved_by="wang", now=NOW)
    with transact() as conn:
        assert ledger.check(conn, TENANT) == []
    return owing
