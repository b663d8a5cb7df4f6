"""The pages about money in a browser: the way of one yuan on screen, readable in two languages, dark and narrow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from billing import credit_notes, disputes, payments, statement
from billing.money import Money
from billing.splits import payout_statement
from portal.context import Role
from tests.portal.browser_checks import Watched, picture
from tests.portal.portal_site import PASSWORD, Site
from tests.portal.seeds import add_contract, add_result, add_usage

pytestmark = pytest.mark.browser

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


def test_one_yuan_is_followed_from_the_acknowledgement_to_the_payout(site: Site, watched: Watched) -> None:
    statement_id = a_month_of_money(site)
    site.add_user("alpha", "ada", Role.APPROVER)
    page = watched.page
    page.goto(f"{watched.url}/sign-in")
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.goto(f"{watched.url}/statements/{statement_id}")
    page.get_by_role("link", name="Line 1").click()
    expect(page.get_by_role("rowheader", name="Model Maker")).to_be_visible()
    page.locator("a[href^='/usage/']").first.click()
    expect(page.get_by_role("heading", name="Acknowledged")).to_be_visible()
    case = page.url.removeprefix(watched.url)
    page.goto(f"{watched.url}/payouts")
    page.get_by_role("link", name="Model Maker").click()
    expect(page.get_by_role("button", name="Approve payout")).to_be_visible()
    payout = site.owner.execute("SELECT payout_statement_id FROM billing.payout_statement").fetchone()
    assert payout is not None

    paths = {
        "line": f"/statements/{statement_id}/lines/1",
        "case": case,
        "account": f"/statements/{statement_id}/account",
        "payments": "/payments",
        "payouts": "/payouts",
        "payee": "/payouts/model-maker",
        "payout": f"/payouts/statements/{payout['payout_statement_id']}",
        "books": "/books",
        "month": f"/books/{LAST_MONTH:%Y-%m}",
    }
    site.owner.execute("UPDATE portal_user SET role = 'admin' WHERE name = 'ada'")  # with every form
    for scheme, width, language in (("light", 1440, "en"), ("dark", 1440, "zh"), ("light", 390, "zh")):
        site.owner.execute("UPDATE tenant SET language = %s WHERE tenant = 'alpha'", (language,))
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        for name, path in paths.items():
            page.goto(watched.url + path)
            picture(watched, f"books-{scheme}-{width}-{language}-{name}")
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name
            unnamed = page.evaluate(
                """() => [...document.querySelectorAll("input, select, textarea")].filter(
                    one => one.type !== "hidden" && !one.labels.length).map(one => one.name)"""
            )
            assert unnamed == [], name
            texts = page.evaluate("() => [...document.querySelectorAll('[id]')].map(one => one.id)")
            assert len(texts) == len(set(texts)), (name, "two elements of one id")
    assert watched.errors == []
    assert watched.strangers() == []
