"""The pages about limits, packages and contracts in a real browser, in two languages, dark, narrow, without scripts."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from portal.context import Role
from tests.portal.browser_checks import Watched, picture
from tests.portal.money_seeds import busy_month
from tests.portal.portal_site import PASSWORD, Site

pytestmark = pytest.mark.browser


def sign_in(watched: Watched, site: Site, role: Role) -> None:
    site.add_user("alpha", "fina", role)
    watched.page.goto(f"{watched.url}/sign-in")
    watched.page.get_by_label("Name").fill("fina")
    watched.page.get_by_label("Password").fill(PASSWORD)
    watched.page.get_by_role("button", name="Sign in").click()


def test_every_page_is_readable(site: Site, watched: Watched) -> None:
    contract_id = busy_month(site, "alpha")
    sign_in(watched, site, Role.FINANCE)
    paths = {
        "overview": f"/overview?contract_id={contract_id}",
        "wallets": "/wallets",
        "wallet": f"/wallets/{contract_id}/three-screenings/token-1",
        "contracts": "/contracts",
        "contract": f"/contracts/edit?contract_id={contract_id}",
    }
    page = watched.page
    for scheme, width, language in (
        ("light", 1440, "en"), ("dark", 1440, "en"), ("light", 390, "zh"), ("light", 1440, "zh"),
    ):  # fmt: skip
        site.owner.execute("UPDATE tenant SET language = %s WHERE tenant = 'alpha'", (language,))
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        for name, path in paths.items():
            page.goto(watched.url + path)
            picture(watched, f"money-{scheme}-{width}-{language}-{name}")
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name
            unnamed = page.evaluate(
                """() => [...document.querySelectorAll("input, select, textarea")].filter(
                    one => one.type !== "hidden" && !one.labels.length).map(one => one.name)"""
            )
            assert unnamed == [], name
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
