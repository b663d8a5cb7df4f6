"""What every page of the portal must stand: one function for each, used by all browser tests.

    def test_my_page(watched: Watched, site: Site) -> None:
        sign_in(watched, site, Role.ADMIN)
        watched.goto("/my-page")
        check_page(watched, "my-page")       # accessible, quiet, small; its picture goes to test-artifacts/portal
        stands_everything(watched, "my-page")   # and at 200 %, on paper, by keyboard, without JavaScript

The fixtures `browser` (one Chromium for all tests) and `watched` (a page of it before the portal of `site`) are in
`conftest.py`; `watch(browser, url)` makes a page before another portal. With PICTURES=1 in the environment the
pictures are painted: look at them.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from portal.context import Role
from tests.portal.portal_site import PASSWORD, Site

SCREENSHOTS = Path(__file__).resolve().parents[2] / "test-artifacts/portal"
CHROMIUM = "/usr/bin/chromium"
CHROMIUM_ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
DESKTOP = {"width": 1440, "height": 900}
PAGE_BYTES_MAX = 100_000
"""On the wire without images."""
TABS_MAX = 400
WCAG_A_AA = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]

_AXE_OPTIONS = {"runOnly": {"type": "tag", "values": WCAG_A_AA}, "resultTypes": ["violations"]}

# Bytes of the page and of what it loads, images aside, as they come over the wire (also where the cache had them).
_PAGE_BYTES = """() => [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")]
  .filter(one => !["img", "image", "xmlhttprequest", "fetch", "beacon"].includes(one.initiatorType)
                 && !/\\.(png|svg|jpe?g)([?]|$)/.test(one.name))
  .reduce((sum, one) => sum + one.encodedBodySize, 0)"""

_LOAD_IMAGES = """() => Promise.all([...document.images].map(one => {
  one.loading = "eager";
  return one.decode();
}))"""

# What a scrolling box hides: on paper nobody scrolls.
_CUT_OFF = """() => [...document.querySelectorAll("body *")].filter(one => {
    const style = getComputedStyle(one);
    return one.getClientRects().length && style.overflowX !== "visible" && !one.closest(".hidden")
      && !one.closest("svg") && one.scrollWidth > one.clientWidth + 1;
  }).map(one => one.outerHTML.slice(0, 80))"""

# Keep what the focus visits, and whether one sees that it is there.
_FOLLOW_FOCUS = """() => {
  document.activeElement?.blur();
  window.scrollTo(0, 0);
  window.visited = new Map();
  document.addEventListener("focusin", event => {
    const style = getComputedStyle(event.target), box = event.target.getBoundingClientRect();
    const has_outline = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
    window.visited.set(event.target, has_outline && box.width > 0 && box.height > 0);
  });
}"""
_CONTROLS = """a[href], button:not([disabled]), input:not([type=hidden]):not([disabled]), select:not([disabled]),
  textarea:not([disabled]), summary, [tabindex="0"]"""
_IS_REACHABLE = """one => one.checkVisibility({visibilityProperty: true}) && one.tabIndex >= 0
  && !(one.type === "radio" && !one.checked && document.querySelector(`input[name="${one.name}"]:checked`))"""
# A date has a stop for each of its parts and for its calendar.
_CONTROL_COUNT = f"""() => [...document.querySelectorAll(`{_CONTROLS}`)].filter({_IS_REACHABLE})
  .reduce((sum, one) => sum + (/date|time|month|week/.test(one.type) ? 6 : 1), 0)"""
_NOT_REACHED = f"""() => [...document.querySelectorAll(`{_CONTROLS}`)]
  .filter({_IS_REACHABLE}).filter(one => !window.visited.has(one)).map(one => one.outerHTML.slice(0, 120))"""
_FOCUS_UNSEEN = (
    "() => [...window.visited].filter(([, seen]) => !seen).map(([one]) => one.outerHTML.slice(0, 120))"
)

_OUTLINE = """() => [...document.querySelectorAll("main :is(h1, h2, h3, th, legend, label, button)")]
  .filter(one => one.checkVisibility()).map(one => one.innerText.trim())"""


class Watched:
    """A page whose problems and requests are kept. url: of the portal, without a slash at its end."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on(
            "console", lambda message: self.errors.append(message.text) if message.type == "error" else None
        )
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def goto(self, path: str) -> None:
        response = self.page.goto(self.url + path)
        assert response is not None
        assert response.ok, (path, response.status)

    def strangers(self) -> list[str]:
        """Requests to anybody but the portal."""
        return [url for url in self.requests if not url.startswith((self.url + "/", "data:", "blob:"))]


def watch(browser: Browser, url: str, *, has_javascript: bool = True) -> Watched:
    """A fresh page with cookies of its own before the portal at `url`; close its `page.context` at the end."""
    context = browser.new_context(java_script_enabled=has_javascript, viewport=DESKTOP)  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(30_000)
    return Watched(page, url)


def sign_in(watched: Watched, site: Site, role: Role, tenant: str = "alpha") -> str:
    """Sign in as a new person of this role; the name."""
    name = f"{role.value}-{uuid.uuid4().hex[:6]}"
    site.add_user(tenant, name, role)
    page = watched.page
    page.goto(f"{watched.url}/sign-in")
    page.locator("#name").fill(name)
    page.locator("#password").fill(PASSWORD)
    page.locator("main button[type=submit]").click()
    page.wait_for_url(lambda url: "/sign-in" not in url)
    return name


def picture(watched: Watched, name: str) -> None:
    """Every image of the page can be shown; where pictures are wanted, one of the whole page to look at."""
    watched.page.evaluate(_LOAD_IMAGES)
    if os.environ.get("PICTURES"):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        watched.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def check_page(watched: Watched, name: str) -> None:
    """No violation of WCAG A or AA, no error so far, nothing from elsewhere, small on the wire; its picture."""
    picture(watched, name)
    accessible(watched, name)
    assert watched.errors == [], f"{name}: {watched.errors}"
    assert watched.strangers() == [], f"{name}: {watched.strangers()}"
    size = watched.page.evaluate(_PAGE_BYTES)
    assert 0 < size < PAGE_BYTES_MAX, f"{name}: {size} bytes"


def accessible(watched: Watched, name: str) -> None:
    found: dict[str, Any] = Axe().run(watched.page, options=_AXE_OPTIONS).response
    told = [
        f"{one['id']}: {node['target']} {node['html'][:100]} {node.get('failureSummary', '')}"
        for one in found["violations"]
        for node in one["nodes"]
    ]
    assert told == [], f"{name}\n" + "\n".join(told)


def stands_everything(watched: Watched, name: str) -> None:
    """The page as it is now at 200 %, on paper, by keyboard and without JavaScript."""
    zoomed_200(watched, name)
    printed(watched, name)
    keyboard_only(watched, name)
    without_javascript(watched, name)


def zoomed_200(watched: Watched, name: str) -> None:
    """At 200 % of a screen of 1280 pixels nobody scrolls the page sideways; a wide table scrolls in its own box."""
    page = watched.page
    page.set_viewport_size({"width": 640, "height": 512})
    widths = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    picture(watched, f"{name}-zoomed")
    page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]
    assert widths[0] <= widths[1], f"{name}: {widths[0]} pixels wide on a screen of {widths[1]}"


def printed(watched: Watched, name: str) -> None:
    """On A4 nothing is cut off, and buttons and menus are not printed."""
    page = watched.page
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 718, "height": 1040})  # A4 less its margins at 96 dots per inch
    cut_off = page.evaluate(_CUT_OFF)
    width = page.evaluate("document.documentElement.scrollWidth")
    buttons = page.locator("button:visible").count()
    picture(watched, f"{name}-printed")
    page.emulate_media(media="null")
    page.set_viewport_size(DESKTOP)  # type: ignore[arg-type]
    assert cut_off == [], f"{name}: {cut_off}"
    assert width <= 718, f"{name}: {width} pixels wide on paper of 718"
    assert buttons == 0, f"{name}: {buttons} buttons are printed"


def keyboard_only(watched: Watched, name: str) -> None:
    """The tab key reaches each control, and one always sees where it is."""
    page = watched.page
    page.evaluate(_FOLLOW_FOCUS)
    count = min(page.evaluate(_CONTROL_COUNT), TABS_MAX)
    for _ in range(count + 2):
        page.keyboard.press("Tab")
    if count < TABS_MAX:
        unreached = page.evaluate(_NOT_REACHED)
        assert unreached == [], f"{name}: {unreached}"
    unseen = page.evaluate(_FOCUS_UNSEEN)
    assert unseen == [], f"{name}: {unseen}"


@contextmanager
def same_person_without_javascript(watched: Watched) -> Iterator[Watched]:
    """A page that runs no script, signed in as the same person."""
    browser = watched.page.context.browser
    assert browser is not None
    context = browser.new_context(
        java_script_enabled=False,
        viewport=DESKTOP,  # type: ignore[arg-type]
        storage_state=watched.page.context.storage_state(),
    )
    try:
        plain = Watched(context.new_page(), watched.url)
        plain.page.set_default_timeout(30_000)
        yield plain
    finally:
        context.close()


@contextmanager
def same_page_without_javascript(watched: Watched) -> Iterator[Watched]:
    """A page that runs no script, signed in as the same person, at the same address."""
    with same_person_without_javascript(watched) as plain:
        plain.goto(watched.page.url.removeprefix(watched.url))
        yield plain


def without_javascript(watched: Watched, name: str) -> None:
    """Headings, column names, labels and buttons are there without scripts too, and every button belongs to a form."""
    with same_person_without_javascript(watched) as plain:
        same_without_javascript(watched, plain, name)


def same_without_javascript(watched: Watched, plain: Watched, name: str) -> None:
    """Like `without_javascript`, in a page that many share: to open one takes a second."""
    plain.goto(watched.page.url.removeprefix(watched.url))
    lost = set(watched.page.evaluate(_OUTLINE)) - set(plain.page.evaluate(_OUTLINE))
    assert not lost, f"{name}: {lost}"
    orphans = plain.page.evaluate(
        "() => [...document.querySelectorAll('button')].filter(b => !b.form && b.checkVisibility()).length"
    )
    assert orphans == 0, f"{name}: a button that does nothing without JavaScript"
