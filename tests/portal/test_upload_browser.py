"""The upload page in a real browser, with its script and without."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from portal.context import Role
from tests.portal.browser_checks import SCREENSHOTS
from tests.portal.live_portal import live_portal, part10
from tests.portal.portal_site import PASSWORD, Site

pytestmark = pytest.mark.browser


def test_a_folder_is_uploaded_with_the_script_and_files_without_it(
    site: Site, browser: Browser, tmp_path: Path
) -> None:
    folder = tmp_path / "cd" / "IMAGES"
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / f"IM{number}").write_bytes(part10(f"1.2.3.{number + 1}"))
    (folder.parent / "AUTORUN.INF").write_text("hello")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    site.add_user("alpha", "olga", Role.OPERATOR)
    with live_portal(site) as live:
        for has_script in (True, False):
            page = browser.new_context(
                java_script_enabled=has_script, viewport={"width": 1100, "height": 700}
            ).new_page()
            problems: list[str] = []
            page.on("pageerror", lambda error, into=problems: into.append(str(error)))
            page.goto(live.url + "/sign-in")
            page.fill("#name", "olga")
            page.fill("#password", PASSWORD)
            page.click("button[type=submit]")
            page.goto(live.url + "/upload")
            expect(page.get_by_role("heading", name="Upload")).to_be_visible()
            expect(page.locator("#failed")).to_be_hidden()
            page.screenshot(path=SCREENSHOTS / f"upload-script-{has_script}.png")
            if has_script:
                page.set_input_files("#folder", folder.parent)
            else:
                page.set_input_files("#files", sorted(folder.iterdir()))
            page.click("main button[type=submit]")
            expect(page.get_by_role("heading", name="Uploaded")).to_be_visible()
            page.screenshot(path=SCREENSHOTS / f"upload-result-script-{has_script}.png")
            expect(page.locator("tbody tr", has_text="stored")).to_contain_text("3" if has_script else "0")
            expect(
                page.locator("tbody tr", has_text="not DICOM" if has_script else "here already")
            ).to_be_visible()
            assert problems == []
        assert len(live.instances()) == 3
