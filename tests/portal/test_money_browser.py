"""What people do on the pages about limits and contracts, in a real browser; how they look: test_every_page.py."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from portal.context import Role
from tests.portal.browser_checks import Watched, picture, sign_in
from tests.portal.money_seeds import busy_month
from tests.portal.portal_site import Site

pytestmark = pytest.mark.browser


def test_the_clock_of_a_contract_is_moved_forward(site: Site, watched: Watched) -> None:
    contract_id = busy_month(site, "alpha")
    site.owner.execute("UPDATE tenant SET language = 'zh' WHERE tenant = 'alpha'")
    sign_in(watched, site, Role.FINANCE)
    page = watched.page
    watched.goto(f"/contracts/edit?contract_id={contract_id}")
    page.get_by_label("虚构用量起始日").fill("2026-01-01")
    page.get_by_label("时钟时间").fill("2026-02-01")
    page.get_by_role("button", name="前进一个月").click()
    expect(page.get_by_text("2026-02-01 – 2026-02-28")).to_be_visible()
    picture(watched, "money-light-1440-zh-clock")
    assert watched.errors == []
    assert watched.strangers() == []


def test_a_limit_is_changed_without_javascript(site: Site, portal_url: str, browser: Browser) -> None:
    busy_month(site, "alpha")
    page = browser.new_context(java_script_enabled=False).new_page()
    page.set_default_timeout(30_000)
    watched = Watched(page, portal_url)
    sign_in(watched, site, Role.FINANCE)
    page.goto(f"{portal_url}/overview")
    page.get_by_label("Limit", exact=True).select_option("daily")
    page.get_by_label("New limit, units or an amount").fill("40")
    page.get_by_label("Reason").fill("more members")
    page.get_by_role("button", name="Change the limit").click()
    expect(page.get_by_role("row", name="daily")).to_contain_text("40")
