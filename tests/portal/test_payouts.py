"""Two people let a vendor's money go; the vendor reads its payout statement and nobody else's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from billing.rails import rail_address
from billing.rails.rail_address import RailAddress
from billing.statements import statement
from portal.context import Role
from tests.portal.portal_site import Site
from tests.portal.seeds import add_contract, add_usage
from tests.portal.test_trail import DEVELOPER

LAST_MONTH = (datetime.now(UTC).replace(day=1) - timedelta(days=10)).replace(hour=12)
ISSUE = {"seller_id": "radmeter-imaging", "currency": "CNY", "month": f"{LAST_MONTH:%Y-%m}"}


@pytest.fixture
def billed(site: Site) -> Site:
    """Last month is stated: 100.00, of which 70.00 are the developer's."""
    contract_id = add_contract(site, "alpha", (DEVELOPER, "Model Maker"))
    add_usage(site, "alpha", site.add_study("alpha"), occurred_at=LAST_MONTH)
    with site.database.transaction("alpha") as conn:
        statement.issue(conn, "alpha", contract_id, LAST_MONTH)
    return site


def payout_id(site: Site) -> int:
    row = site.owner.execute("SELECT payout_id FROM billing.payout").fetchone()
    assert row is not None
    return int(row["payout_id"])


def test_finance_asks_and_somebody_else_lets_it_go(billed: Site) -> None:
    finance = billed.signed_in("alpha", Role.FINANCE)
    assert finance.post(f"/payouts/{DEVELOPER}/issue", data=ISSUE).status_code == 303
    page = finance.get(f"/payouts/{DEVELOPER}").text
    assert "PO-" in page
    assert "70.00" in page
    assert "Approve payout" not in page
    value = {"payout_id": payout_id(billed)}
    assert finance.post(f"/payouts/{DEVELOPER}/approve", data=value).status_code == 403
    approver = billed.signed_in("alpha", Role.APPROVER)
    refused = approver.post(f"/payouts/{DEVELOPER}/approve", data=value)
    assert refused.status_code == 409  # nobody said yet where the developer is paid
    add_address(billed)
    assert approver.post(f"/payouts/{DEVELOPER}/approve", data=value).status_code == 303
    assert "approved by" in approver.get(f"/payouts/{DEVELOPER}").text


def test_an_approver_of_the_payee_does_not_let_its_own_money_go(billed: Site) -> None:
    add_address(billed)
    billed.signed_in("alpha", Role.FINANCE).post(f"/payouts/{DEVELOPER}/issue", data=ISSUE)
    own = billed.signed_in("alpha", Role.APPROVER, DEVELOPER)
    assert "Approve payout" not in own.get(f"/payouts/{DEVELOPER}").text
    refused = own.post(f"/payouts/{DEVELOPER}/approve", data={"payout_id": payout_id(billed)})
    assert refused.status_code == 409
    assert "belongs to the payee" in refused.text


def test_a_month_that_runs_is_not_stated_and_the_page_says_why(billed: Site) -> None:
    finance = billed.signed_in("alpha", Role.FINANCE)
    values = {**ISSUE, "month": f"{datetime.now(UTC):%Y-%m}"}
    refused = finance.post(f"/payouts/{DEVELOPER}/issue", data=values)
    assert refused.status_code == 409
    assert "the month ends on" in refused.text


def test_the_vendor_reads_its_payout_statement(billed: Site) -> None:
    billed.signed_in("alpha", Role.FINANCE).post(f"/payouts/{DEVELOPER}/issue", data=ISSUE)
    row = billed.owner.execute("SELECT payout_statement_id FROM billing.payout_statement").fetchone()
    assert row is not None
    path = f"/payouts/statements/{row['payout_statement_id']}"
    vendor = billed.signed_in("alpha", Role.VENDOR, DEVELOPER)
    assert "Model Maker" in vendor.get(path).text
    assert vendor.get(f"{path}.pdf").content.startswith(b"%PDF-")
    other = billed.signed_in("alpha", Role.VENDOR, "demo-hospital")
    assert other.get(path).status_code == 404
    assert other.get(f"{path}.pdf").status_code == 404


def add_address(site: Site) -> None:
    address = RailAddress(DEVELOPER, "out", "bank", "DE89370400440532013000", "COBADEFFXXX", "Model Maker")
    with site.database.transaction("alpha") as conn:
        rail_address.keep(
            conn, "alpha", address, requested_by="one", approved_by="two", now=datetime.now(UTC)
        )
