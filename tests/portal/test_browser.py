"""The portal in a real browser: what a radiologist and an accountant see, with screenshots to look at."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright

from portal.app import create_app
from portal.context import Role
from tests.portal.portal_site import PASSWORD, Site
from tests.portal.seeds import add_contract, busy_day

pytestmark = pytest.mark.browser

SCREENSHOTS = Path(__file__).resolve().parents[2] / "test-artifacts/portal"
CHROMIUM = "/usr/bin/chromium"
CHROMIUM_ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture
def portal_url(site: Site, free_port: int) -> Iterator[str]:
    server = uvicorn.Server(
        uvicorn.Config(create_app(site.context), host="127.0.0.1", port=free_port, log_level="error")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{free_port}"
    server.should_exit = True
    thread.join(10)


# Text whose contrast with what lies behind it is under 4.5:1, or under 3:1 where it is large (WCAG 1.4.3).
FAINT_TEXT = """() => {
  const channels = colour => {
    const context = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
    context.fillStyle = colour; context.fillRect(0, 0, 1, 1);
    return context.getImageData(0, 0, 1, 1).data;
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => v / 255).map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = element => {
    for (let one = element; one; one = one.parentElement) {
      const colour = channels(getComputedStyle(one).backgroundColor);
      if (colour[3] > 250) return colour;
    }
    return [255, 255, 255, 255];
  };
  const own = node => [...node.childNodes].filter(n => n.nodeType === 3).map(n => n.data.trim()).join(" ").trim();
  const faint = [];
  for (const element of document.body.querySelectorAll("*")) {
    const style = getComputedStyle(element);
    if (!own(element) || style.visibility === "hidden" || !element.getClientRects().length) continue;
    const [a, b] = [light(channels(style.color)), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize), isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (ratio < (isLarge ? 3 : 4.5)) faint.push(`${ratio.toFixed(2)} ${own(element).slice(0, 60)}`);
  }
  return faint;
}"""


class Watched:
    """A page whose console errors and requests are kept."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on(
            "console", lambda message: self.errors.append(message.text) if message.type == "error" else None
        )
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def screenshot(self, name: str) -> None:
        """Keep a picture of the page to look at; every text on it must be readable."""
        assert self.page.evaluate(FAINT_TEXT) == [], name
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)

    def strangers(self) -> list[str]:
        return [url for url in self.requests if not url.startswith((self.url + "/", "data:"))]


@pytest.fixture
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def watched(portal_url: str, browser: Browser) -> Watched:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(30_000)
    return Watched(page, portal_url)


def test_from_signing_in_to_the_report_and_the_statement(site: Site, watched: Watched) -> None:
    study_id = busy_day(site, "alpha")
    site.add_user("alpha", "anna", Role.ADMIN)
    page = watched.page

    page.goto(watched.url)
    watched.screenshot("1-sign-in")
    page.get_by_label("Name").fill("anna")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_role("heading", name="Work list")).to_be_visible()
    expect(page.get_by_text("seen again, not charged")).to_be_visible()
    watched.screenshot("2-work-list")

    site.owner.execute("UPDATE study SET status = 'encoded' WHERE status = 'inferred'")
    expect(page.get_by_text("step 6 of 7")).to_be_visible(timeout=15_000)  # htmx has fetched the table anew

    page.get_by_role("link", name="SATO").click()
    expect(page.get_by_role("heading", name="The result is not ready yet")).to_be_visible()
    watched.screenshot("2-in-progress")
    site.owner.execute("UPDATE study SET status = 'delivered' WHERE status = 'encoded'")
    expect(page.get_by_text("Delivered").first).to_be_visible(
        timeout=15_000
    )  # the page has followed the study

    page.get_by_role("link", name="Work list").first.click()
    page.get_by_role("link", name="LINDQVIST, JANE").click()
    expect(page.get_by_text("AI result, not reviewed").first).to_be_visible()
    picture = page.locator(".report img").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.complete && image.naturalWidth > 100")
    watched.screenshot("3-report")
    with page.expect_download() as download:
        page.get_by_role("link", name="Report as PDF").click()
    assert Path(download.value.path()).read_bytes().startswith(b"%PDF-")
    assert study_id in download.value.suggested_filename

    page.goto(f"{watched.url}/")
    page.get_by_role("link", name="王小明").click()
    expect(page.get_by_role("heading", name="This study was not analysed")).to_be_visible()
    refused = page.url.removeprefix(watched.url)
    watched.screenshot("4-not-analysed")

    page.get_by_role("link", name="Usage").click()
    watched.screenshot("5-usage")
    page.get_by_role("link", name="Statements").click()
    watched.screenshot("6-statements")
    page.locator("table a").first.click()
    expect(page.get_by_text("This is a draft.")).to_be_visible()
    watched.screenshot("7-draft")
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Issue statement").click()
    expect(page.get_by_text("RM-ALPHA-000001").first).to_be_visible()
    expect(page.get_by_text("CNY 212.00").first).to_be_visible()  # two cases of 100.00 and 6 % tax
    watched.screenshot("8-statement")

    for number, name in enumerate(("peers", "models"), start=9):
        page.goto(f"{watched.url}/{name}")
        watched.screenshot(f"{number}-{name}")
    page.goto(f"{watched.url}/peers/edit")
    watched.screenshot("11-peer-form")
    page.goto(f"{watched.url}/audit")
    expect(page.get_by_text("Signed in").first).to_be_visible()
    watched.screenshot("13-audit")
    page.goto(f"{watched.url}/api/docs")
    watched.screenshot("12-api")

    for scheme, width, language in (("dark", 1440, "en"), ("light", 390, "en"), ("light", 1440, "zh")):
        site.owner.execute("UPDATE tenant SET language = %s WHERE tenant = 'alpha'", (language,))
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        pages = (
            ("work-list", "/"),
            ("report", f"/studies/{study_id}"),
            ("not-analysed", refused),
            ("statements", "/statements"),
            ("statement", "/statements/1"),
            ("usage", "/usage"),
            ("models", "/models"),
            ("peers", "/peers"),
            ("peer-form", "/peers/edit"),
            ("audit", "/audit"),
            ("routing", "/routing"),
            ("routing-edit", "/routing/edit"),
        )
        for name, path in pages:
            page.goto(watched.url + path)
            watched.screenshot(f"{scheme}-{width}-{language}-{name}")
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name

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
    page.get_by_role("checkbox").check()
    page.get_by_role("button", name="Issue statement").click()
    expect(page.get_by_text("RM-ALPHA-000001").first).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
