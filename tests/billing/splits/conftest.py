"""A contract whose lines are shared, and the months in which it is tried."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from billing import meter, statement, store
from billing.splits import contribution
from billing.splits.contribution import Contribution
from billing.statement_record import Statement
from billing.usage import UsageEvent

TENANT = "hospital-a"
NOVEMBER = datetime(2026, 11, 20, tzinfo=UTC)
NEW_YEAR = datetime(2027, 1, 2, tzinfo=UTC)

PARTIES = """
parties:
  - {id: east-hospital, name: East Hospital, role: contributor}
  - {id: west-hospital, name: West Hospital, role: contributor}
  - {id: dev-a, name: Developer A, role: developer}
  - {id: treasury, name: Treasury, role: platform}
"""
POOL = """
splits:
  - split: data
    basis: billed
    parties:
      - {pool: hospitals, share: 0.30}
      - {party: radmeter-imaging, residual: true}
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
            return statement.issue(conn, TENANT, contract_id, at, now=now)

    return deliver_and_issue
