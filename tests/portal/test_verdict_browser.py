"""The loop of verdicts in a browser: by keyboard alone, and without JavaScript."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from portal.context import Role
from tests.portal.browser_checks import check_page, picture, sign_in, stands_everything, watch
from tests.portal.portal_site import Site
from tests.review_seed import Seeded, seed_result

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def seeded(shared_site: Site) -> dict[str, Seeded]:
    root = shared_site.context.data_root
    return {
        name: seed_result(shared_site.owner, root, "alpha", study_uid=f"1.2.3.{number}")
        for number, name in enumerate(("keyboard", "plain", "draft"), start=1)
    }


def said(site: Site, seeded: Seeded) -> list[Any]:
    rows = site.owner.execute(
        "SELECT kind, note FROM verdict WHERE study_id = %s ORDER BY id", (seeded.study_id,)
    ).fetchall()
    return [row["kind"] for row in rows]


def test_by_keyboard_alone(
    shared_site: Site, shared_url: str, browser: Browser, seeded: dict[str, Seeded]
) -> None:
    watched, one = watch(browser, shared_url), seeded["keyboard"]
    sign_in(watched, shared_site, Role.RADIOLOGIST)
    watched.goto(f"/studies/{one.study_id}")
    page = watched.page
    check_page(watched, "review-open")
    stands_everything(watched, "review-open")
    watched.goto(f"/studies/{one.study_id}")
    page.locator("#add-missed").focus()
    page.keyboard.press("j")
    page.keyboard.press("a")
    expect(page.locator("#verdict-1")).to_contain_text("accepted")
    expect(page.locator("#verdict-1")).to_be_focused()
    page.keyboard.press("r")
    expect(page.locator("#verdict-1")).to_contain_text("rejected")
    page.keyboard.press("z")
    expect(page.locator("#verdict-1")).to_contain_text("accepted")
    page.keyboard.press("j")
    expect(page.locator("#verdict-2")).to_be_focused()
    page.keyboard.press("e")
    expect(page.get_by_role("heading", name="Finding 2")).to_be_visible()
    check_page(watched, "review-change")
    page.get_by_label("Mean diameter in mm").fill("6.5")
    page.keyboard.press("Enter")
    expect(page.locator("#verdict-2")).to_contain_text("changed")
    page.locator("#verdict-2 button").first.focus()
    page.keyboard.press("?")
    expect(page.locator(".review-keys")).to_have_attribute("open", "")
    page.keyboard.press("f")
    page.keyboard.press("Enter")
    expect(page.locator("#review-bar")).to_contain_text("reviewed")
    expect(page.locator("#finish-review")).to_have_count(0)
    page.reload()
    check_page(watched, "review-finished")
    assert said(shared_site, one) == ["accept", "reject", "undo", "edit", "finish"]


def test_without_javascript_a_click_on_the_picture_adds_a_finding(
    shared_site: Site, shared_url: str, browser: Browser, seeded: dict[str, Seeded]
) -> None:
    watched, one = watch(browser, shared_url, has_javascript=False), seeded["plain"]
    sign_in(watched, shared_site, Role.RADIOLOGIST)
    watched.goto(f"/studies/{one.study_id}")
    page = watched.page
    page.locator("#verdict-1").get_by_role("button", name="Unsure").click()
    page.locator("#verdict-2").get_by_role("button", name="Reject").click()
    page.get_by_role("link", name="Add a missed finding").click()
    page.get_by_label("Image").first.fill("5")
    page.get_by_role("button", name="Show").click()
    page.get_by_label("Note, if you like").fill("at the hilum")
    shown = page.locator("input[type=image]")
    assert shown.evaluate("image => [image.width, image.height]") == [64, 64]
    picture(watched, "review-missed")
    shown.click(position={"x": 20, "y": 40})
    expect(page.locator("#review-bar")).to_contain_text("at the hilum")
    expect(page.locator("#review-bar")).to_contain_text("column 20, row 40")
    page.get_by_role("button", name="Finish the review").click()
    expect(page.locator("#review-bar")).to_contain_text("reviewed")
    assert said(shared_site, one) == ["unsure", "reject", "missed", "finish"]


def test_what_was_typed_survives_a_session_that_ends_and_a_page_that_goes_away(
    shared_site: Site, shared_url: str, browser: Browser, seeded: dict[str, Seeded]
) -> None:
    watched, one = watch(browser, shared_url), seeded["draft"]
    name = sign_in(watched, shared_site, Role.RADIOLOGIST)
    page = watched.page
    watched.goto(f"/studies/{one.study_id}/verdicts/1/edit?revision=1")
    page.get_by_label("Note, if you like").fill("typed at length")
    page.reload()
    expect(page.get_by_label("Note, if you like")).to_have_value("typed at length")
    shared_site.owner.execute("DELETE FROM portal_session WHERE user_name = %s", (name,))
    page.get_by_role("button", name="Reject").click()
    page.locator("#name").fill(name)
    page.locator("#password").fill("correct horse battery")
    page.locator("main button[type=submit]").click()
    expect(page.get_by_role("heading", name="Your form is still here")).to_be_visible()
    check_page(watched, "form-kept")
    page.get_by_role("button", name="Send it now").click()
    expect(page.locator("#verdict-1")).to_contain_text("rejected")
    assert said(shared_site, one) == ["reject"]
    page.goto(f"{shared_url}/studies/{one.study_id}/verdicts/2/edit?revision=1")
    expect(page.get_by_label("Note, if you like")).to_have_value("")
