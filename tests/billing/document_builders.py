"""Statements to credit, dispute and document."""

from __future__ import annotations

from datetime import UTC, datetime

from billing.contracts import store
from billing.metering import meter
from billing.statements import statement

TENANT = "hospital-a"
NOVEMBER = datetime(2026, 11, 20, tzinfo=UTC)
NEW_YEAR = datetime(2027, 1, 2, tzinfo=UTC)
CREDIT = {"reason": "the scanner was down", "by": "finance", "now": NEW_YEAR}
FEE = """
  - product: platform
    title: {en: "Platform", zh: "平台"}
    unit: {en: month, zh: 月}
    price: {model: flat, amount: 50}
"""
"""A second rate, to stand after those of the example contract: 50.00 for the period."""


def issue_statement(
    transact, contract: str, make_event, cases: int = 3, at: datetime = NOVEMBER, tenant: str = TENANT
) -> int:
    """The id of a statement of November over so many delivered cases."""
    with transact(tenant) as conn:
        contract_id = store.add_contract(conn, tenant, contract)
        for number in range(1, cases + 1):
            name = f"{at:%y%m}:{number}"
            event = make_event(number, tenant=tenant, event_id=name, case_key=name, occurred_at=at)
            meter.record(conn, event, received_at=at)
        issued = statement.issue(conn, tenant, contract_id, at, now=NEW_YEAR, nil=True)
    assert issued.statement_id is not None
    return issued.statement_id
