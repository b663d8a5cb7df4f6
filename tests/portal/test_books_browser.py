"""The way of one yuan on screen; how the pages look: test_every_page.py."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from portal.context import Role
from tests.portal.books_seeds import a_month_of_money
from tests.portal.browser_checks import Watched
from tests.portal.portal_site import PASSWORD, Site

pytestmark = pytest.mark.browser


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
    page.goto(f"{watched.url}/payouts")
    page.get_by_role("link", name="Model Maker").click()
    expect(page.get_by_role("button", name="Approve payout")).to_be_visible()
    assert watched.errors == []
    assert watched.strangers() == []
