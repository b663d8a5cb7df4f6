"""The work list in a real browser: keys, live rows, filters without scripts, and names that try to break it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from portal.context import Role
from tests.portal.browser_checks import (
    Watched,
    check_page,
    picture,
    same_page_without_javascript,
    sign_in,
    stands_everything,
)
from tests.portal.portal_site import Site
from tests.portal.worklist_seed import MORNING, busy_morning

pytestmark = pytest.mark.browser

HOSTILE_NAMES = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "\u202eDOE^JANE\u2066\u202d",
    "A" * 65_536,
    "M\ufffdLLER^\ufffd\ufffd",  # what a wrong character set leaves
    "王" * 3_000,
)


def test_a_morning_is_worked_through(site: Site, watched: Watched) -> None:
    busy_morning(site, "alpha")
    sign_in(watched, site, Role.RADIOLOGIST)
    page = watched.page
    watched.goto("/")
    picture(watched, "work-list-morning")
    rows = page.locator(".worklist tbody tr")
    expect(rows).to_have_count(len(MORNING))
    expect(rows.nth(0)).to_contain_text("critical: pneumothorax")
    expect(rows.nth(1)).to_contain_text("critical: Lung-RADS 4B")
    expect(rows.nth(2)).to_contain_text("emergency")
    expect(rows.nth(3)).to_contain_text("overdue")
    check_page(watched, "work-list-morning")
    stands_everything(watched, "work-list-morning")

    # keys: J twice and K once stand on the first study again, whatever the table has been swapped for meanwhile
    watched.goto("/")
    for key in ("j", "ArrowDown", "k"):
        page.keyboard.press(key)
    expect(rows.nth(0).locator("th a")).to_be_focused()
    site.owner.execute("UPDATE study SET status = 'delivered' WHERE status = 'decoded'")
    expect(page.locator("#view-in_progress")).to_contain_text("3", timeout=15_000)
    expect(rows.nth(0).locator("th a")).to_be_focused()
    page.keyboard.press("/")
    page.keyboard.type("小明")
    page.keyboard.press("Enter")
    expect(rows).to_have_count(1)
    page.wait_for_load_state()
    assert "小明" not in page.url
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/studies/*")

    # views and filters stay in the address, without scripts too
    watched.goto("/?view=problems")
    with same_page_without_javascript(watched) as plain:
        expect(plain.page.locator(".worklist tbody tr")).to_have_count(2)
        expect(plain.page.get_by_text("Send a series that the model reads")).to_be_visible()
        plain.page.get_by_label("Sender").select_option("CT01")
        plain.page.get_by_label("Received").select_option("7")
        plain.page.get_by_role("button", name="Apply").click()
        expect(plain.page.locator(".worklist tbody tr")).to_have_count(1)
        assert all(part in plain.page.url for part in ("view=problems", "sender=CT01", "days=7"))
    assert watched.errors == []


def test_names_that_try_to_break_it_do_not(site: Site, watched: Watched) -> None:
    for name in HOSTILE_NAMES:
        header = dict.fromkeys(("patient_name", "patient_id", "accession_number", "description"), name)
        site.add_study("alpha", header=header)
    sign_in(watched, site, Role.RADIOLOGIST)
    page = watched.page
    watched.goto("/")
    check_page(watched, "work-list-hostile")
    stands_everything(watched, "work-list-hostile")
    assert page.locator("main script, main img").count() == 0
    expect(page.locator(".worklist tbody tr")).to_have_count(len(HOSTILE_NAMES))
    heights = page.evaluate(
        "[...document.querySelectorAll('.worklist tbody tr')].map(one => one.offsetHeight)"
    )
    assert max(heights) < 250
