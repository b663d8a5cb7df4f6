"""Two statements of a contract that also owes a developer an advance."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from billing.contracts import store
from billing.metering.usage import UsageEvent
from tests.billing.payment_seeds import TENANT, issue_month

DECEMBER = datetime(2026, 12, 20, tzinfo=UTC)
SHARED = """
parties:
  - {id: dev-a, name: Developer A, role: developer}
splits:
  - split: app
    parties:
      - {party: dev-a, share: 0.70, advance: 50.00}
      - {party: radmeter-imaging, residual: true}
"""


@pytest.fixture
def owing(transact, per_case: str, make_event: Callable[..., UsageEvent]) -> list[int]:
    """Ids of two statements: November of 212.00 CNY, December of 106.00."""
    with transact() as conn:
        contract_id = store.add_contract(conn, TENANT, per_case + SHARED)
        first = issue_month(conn, TENANT, contract_id, [make_event(1), make_event(2)])
        late = [make_event(3, occurred_at=DECEMBER)]
        second = issue_month(conn, TENANT, contract_id, late, month=DECEMBER)
    return [one.statement_id or 0 for one in (first, second)]
