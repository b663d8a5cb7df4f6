"""A month of money that went its whole way: issued, partly credited, disputed, paid, and a payout that waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from billing.cash import payments
from billing.claims import credit_notes, disputes
from billing.money import Money
from billing.splits import payout_statement
from billing.statements import statement
from tests.portal.portal_site import Site
from tests.portal.seeds import add_contract, add_result, add_usage

LAST_MONTH = (datetime.now(UTC).replace(day=1) - timedelta(days=10)).replace(hour=12)
DEVELOPER = ("model-maker", "Model Maker Ltd 模型开发有限公司")


def a_month_of_money(site: Site) -> int:
    """A statement of three cases, partly credited, disputed and paid; a payout that waits. Its id."""
    now = datetime.now(UTC)
    contract_id = add_contract(site, "alpha", DEVELOPER)
    for _ in range(3):
        study = site.add_study("alpha")
        add_result(site, "alpha", study, [])
        add_usage(site, "alpha", study, occurred_at=LAST_MONTH)
    with site.database.transaction("alpha") as conn:
        issued = statement.issue(conn, "alpha", contract_id, LAST_MONTH)
        assert issued.statement_id is not None
        credit_notes.issue(
            conn, "alpha", issued.statement_id, [(1, 2_550)], reason="slices missing", by="fina", now=now
        )
        disputes.open_dispute(
            conn, "alpha", issued.statement_id, [(1, 10_000)], reason="not ours", by="hospital", now=now
        )
        paid = payments.receive(
            conn, "alpha", payer_id="demo-hospital", amount=Money(15_000, "CNY"), source="bank",
            external_id="T-1", received_at=now, by="fina", now=now,
        )  # fmt: skip
        payments.allocate(conn, "alpha", paid.payment_id, issued.statement_id, 12_000, by="fina", now=now)
        (account,) = payout_statement.accounts(conn, "alpha")
        payout_statement.issue(conn, account, LAST_MONTH, by="somebody", now=now)
    return issued.statement_id
