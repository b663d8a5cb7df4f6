"""Each page of the portal stands every check, in English and Chinese, light and dark."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser

from portal.context import Role
from tests.portal.browser_checks import (
    Watched,
    accessible,
    check_page,
    keyboard_only,
    printed,
    same_person_without_javascript,
    same_without_javascript,
    sign_in,
    stands_everything,
    watch,
    zoomed_200,
)
from tests.portal.every_page import every_page, pages_without_an_address
from tests.portal.portal_site import Site

pytestmark = pytest.mark.browser


CHECKS = (check_page, zoomed_200, printed, keyboard_only)


@pytest.fixture(scope="module")
def addresses(shared_site: Site) -> dict[str, str]:
    return every_page(shared_site)


@pytest.fixture
def watched(shared_site: Site, shared_url: str, browser: Browser) -> Watched:
    return watch(browser, shared_url)


def test_every_page_is_looked_at(addresses: dict[str, str]) -> None:
    assert pages_without_an_address(addresses) == []


def test_each_stands_everything(shared_site: Site, watched: Watched, addresses: dict[str, str]) -> None:
    watched.goto("/sign-in")
    check_page(watched, "sign-in")
    stands_everything(watched, "sign-in")
    sign_in(watched, shared_site, Role.ADMIN)
    problems = []
    with same_person_without_javascript(watched) as plain:

        def without_javascript(watched: Watched, name: str) -> None:
            same_without_javascript(watched, plain, name)

        for name, path in addresses.items():
            for check in (*CHECKS, without_javascript):
                try:
                    if check is check_page:
                        watched.goto(path)
                    check(watched, name)
                except AssertionError as problem:
                    problems.append(str(problem))
            watched.errors.clear()
    if problems:
        pytest.fail("\n".join(problems))


def test_each_is_readable_in_chinese_and_in_the_dark(
    shared_site: Site, watched: Watched, addresses: dict[str, str]
) -> None:
    shared_site.owner.execute("UPDATE tenant SET language = 'zh' WHERE tenant = 'alpha'")
    watched.page.emulate_media(color_scheme="dark")
    sign_in(watched, shared_site, Role.ADMIN)
    problems = []
    for name, path in addresses.items():
        watched.goto(path)
        try:
            accessible(watched, f"{name}-zh-dark")
        except AssertionError as problem:
            problems.append(str(problem))
    if watched.errors + problems:
        pytest.fail("\n".join(watched.errors + problems))
