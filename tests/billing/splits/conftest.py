"""A contract whose lines are shared, and the months in which it is tried."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from billing.books import ledger
from billing.cash import payments
from billing.contracts import store
from billing.metering import meter
from billing.metering.usage import UsageEvent
from billing.money import Money
from billing.rails import rail_address
from billing.rails.rail_address import RailAddress
from billing.splits import contribution, payout, payout_statement
from billing.splits.contribution import Contribution
from billing.splits.payout_record import PayoutStatement
from billing.splits.payout_statement import Account
from billing.statements import statement
from billing.statements.statement_record import Statement

TENANT = "hospital-a"
NOVEMBER = datetime(2026, 11, 20, tzinfo=UTC)
NEW_YEAR = datetime(2027, 1, 2, tzinfo=UTC)
DEVELOPER = Account(TENANT, "radmeter-imaging", "dev-a", "CNY")

PARTIES = """
parties:
  - {id: east-hospital, name: East Hospital, role: contributor}
  - {id: west-hospital, name: West Hospital, role: contributor}
  - {id: dev-a, name: Developer A, role: developer}
  - {id: treasury, name: Treasury, role: platform}
"""


@pytest.fixture
def shared(per_case: str) -> Callable[[str], str]:
    """`shared(SPLITS)`: the per-case contract (100.00 a case) with parties and these splits."""
    return lambda splits: per_case + PARTIES + splits


@pytest.fixture
def sign(transact, shared) -> Callable[[str], int]:
    def sign_contract(splits: str) -> int:
        with transact() as conn:
            return store.add_contract(conn, TENANT, shared(splits))

    return sign_contract


@pytest.fixture
def weigh(transact) -> Callable[..., None]:
    """`weigh(contract_id, east_hospital=2)`: the pool's weights of November."""

    def set_weights(
        contract_id: int, at: datetime = NOVEMBER, pool: str = "hospitals", **weights: object
    ) -> None:
        given = [
            Contribution(name.replace("_", "-"), Decimal(str(weight)), "sha256:00ff")
            for name, weight in weights.items()
        ]
        with transact() as conn:
            contribution.set_weights(conn, TENANT, contract_id, pool, at, given, by="clerk", now=at)

    return set_weights


@pytest.fixture
def bill(transact, make_event: Callable[..., UsageEvent]) -> Callable[..., Statement]:
    """`bill(contract_id, 3)`: three more cases are delivered at `at`, and the period is issued."""
    count = 0

    def deliver_and_issue(
        contract_id: int, cases: int = 0, at: datetime = NOVEMBER, now: datetime = NEW_YEAR, **fields: object
    ) -> Statement:
        nonlocal count
        with transact() as conn:
            for _ in range(cases):
                count += 1
                meter.record(conn, make_event(count, occurred_at=at, **fields), received_at=at)
            return statement.issue(conn, TENANT, contract_id, at, now=now, nil=True)

    return deliver_and_issue


@pytest.fixture
def pay(transact) -> Callable[..., payments.Allocation]:
    """`pay(statement_id, 5_000)`: the hospital pays 50.00 of a statement."""
    count = 0

    def receive_and_allocate(statement_id: int, amount: int) -> payments.Allocation:
        nonlocal count
        count += 1
        with transact() as conn:
            payment = payments.receive(
                conn, TENANT, payer_id="demo-hospital", amount=Money(amount, "CNY"), source="bank",
                external_id=f"b{count}", received_at=NEW_YEAR, by="clerk", now=NEW_YEAR,
            )  # fmt: skip
            return payments.allocate(conn, TENANT, payment.payment_id, statement_id, by="clerk", now=NEW_YEAR)

    return receive_and_allocate


@pytest.fixture
def balance(transact) -> Callable[[str], int]:
    """Minor units on an account; the books are sound."""

    def look_up(account: str) -> int:
        with transact() as conn:
            assert ledger.check(conn, TENANT) == []
            query = (
                "SELECT coalesce(sum(amount_minor), 0)::bigint AS n FROM billing.posting WHERE account = %s"
            )
            return int(conn.execute(query, (account,)).fetchone()["n"])

    return look_up


@pytest.fixture
def state_payout(transact) -> Callable[..., PayoutStatement]:
    def issue(at: datetime = NOVEMBER, now: datetime = NEW_YEAR) -> PayoutStatement:
        with transact() as conn:
            return payout_statement.issue(conn, DEVELOPER, at, by="clerk", now=now)

    return issue


@pytest.fixture
def send(transact, addressed) -> Callable[..., payout.Payout]:
    """Approve the latest payout and let the rail confirm it."""

    def approve_and_confirm(now: datetime = NEW_YEAR) -> payout.Payout:
        addressed()
        with transact() as conn:
            [latest, *_] = payout.list_payouts(conn, TENANT)
            payout.approve(conn, TENANT, latest.payout_id, by="boss", now=now)
            return payout.confirm(conn, TENANT, latest.payout_id, rail="bank", now=now)

    return approve_and_confirm


@pytest.fixture
def addressed(transact) -> Callable[[], None]:
    """`addressed()`: from now on it is known where the developer is paid."""

    def keep() -> None:
        address = RailAddress("dev-a", "out", "bank", "6222000000000001", holder="Developer A")
        with transact() as conn:
            rail_address.keep(conn, TENANT, address, requested_by="clerk", approved_by="boss", now=NOVEMBER)

    return keep
