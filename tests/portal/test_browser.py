"""What a radiologist and an accountant do in the portal, in a real browser; how the pages look: test_every_page.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from portal.context import Role
from tests.portal.browser_checks import Watched
from tests.portal.portal_site import PASSWORD, Site
from tests.portal.seeds import add_contract, busy_day

pytestmark = pytest.mark.browser


def test_from_signing_in_to_the_report_and_the_statement(site: Site, watched: Watched) -> None:
    study_id = busy_day(site, "alpha")
    site.add_user("alpha", "anna", Role.ADMIN)
    page = watched.page

    page.goto(watched.url)
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_role("heading", name="Work list")).to_be_visible()
    expect(page.get_by_text("seen again, not charged")).to_be_visible()

    site.owner.execute("UPDATE study SET status = 'encoded' WHERE status = 'inferred'")
    expect(page.get_by_text("step 6 of 7")).to_be_visible(timeout=15_000)  # htmx has fetched the table anew

    page.get_by_role("link", name="SATO").click()
    expect(page.get_by_role("heading", name="The result is not ready yet")).to_be_visible()
    site.owner.execute("UPDATE study SET status = 'delivered' WHERE status = 'encoded'")
    expect(page.get_by_text("Delivered").first).to_be_visible(
        timeout=15_000
    )  # the page has followed the study

    page.get_by_role("link", name="Work list").first.click()
    page.get_by_role("link", name="LINDQVIST, JANE").click()
    expect(page.get_by_text("AI result, not reviewed").first).to_be_visible()
    image = page.locator(".report img").first
    expect(image).to_be_visible()
    expect(image).to_have_js_property("complete", True)
    assert image.evaluate("image => image.naturalWidth > 100")
    with page.expect_download() as download:
        page.get_by_role("link", name="Report as PDF").click()
    assert Path(download.value.path()).read_bytes().startswith(b"%PDF-")
    assert study_id in download.value.suggested_filename

    page.goto(f"{watched.url}/")
    page.get_by_role("link", name="王小明").click()
    expect(page.get_by_role("heading", name="This study was not analysed")).to_be_visible()

    page.get_by_role("link", name="Statements").click()
    page.locator("table a").first.click()
    expect(page.get_by_text("This is a draft.")).to_be_visible()
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Issue statement").click()
    expect(page.get_by_text("RM-ALPHA-000001").first).to_be_visible()
    expect(page.get_by_text("CNY 212.00").first).to_be_visible()  # two cases of 100.00 and 6 % tax

    page.goto(f"{watched.url}/audit")
    expect(page.get_by_text("Signed in").first).to_be_visible()
    assert watched.errors == []
    assert watched.strangers() == []
    assert len(watched.requests) > 20


def test_every_form_works_without_javascript(site: Site, portal_url: str, browser: Browser) -> None:
    site.add_study("alpha")
    add_contract(site, "alpha")
    site.add_user("alpha", "anna", Role.ADMIN)
    page = browser.new_context(java_script_enabled=False).new_page()
    page.set_default_timeout(30_000)

    page.goto(f"{portal_url}/models")
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Models")).to_be_visible()  # back to where one wanted to go

    page.goto(portal_url)
    page.get_by_role("searchbox").fill("nobody")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("No study matches.")).to_be_visible()
    assert "nobody" not in page.url
    page.get_by_role("link", name="Clear search").click()
    expect(page.get_by_role("link", name="DOE, JANE")).to_be_visible()

    page.goto(f"{portal_url}/peers/edit")
    page.get_by_label("AE title").fill("PACS")
    page.get_by_role("textbox", name="Host").fill("bad host")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Give a host name or an IP address.")).to_be_visible()
    page.get_by_role("textbox", name="Host").fill("10.0.0.5")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("rowheader", name="PACS")).to_be_visible()

    page.goto(f"{portal_url}/statements")
    page.locator("table a").first.click()
    for box in page.get_by_role("checkbox").all():  # it runs still, and nothing is charged
        box.check()
    page.get_by_role("button", name="Issue statement").click()
    expect(page.get_by_text("RM-ALPHA-000001").first).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
