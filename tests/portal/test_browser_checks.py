"""The checks of pages find what they are there to find."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from portal.context import Role
from tests.portal import browser_checks
from tests.portal.browser_checks import Watched, check_page, sign_in, stands_everything
from tests.portal.portal_site import Site

pytestmark = pytest.mark.browser

HARM = {  # by properties: the content security policy blocks attributes of style
    "accessible": "main.innerHTML += '<input>'",
    "zoomed_200": "main.style.width = '70rem'",
    "printed": "main.style.width = '60rem'",
    "keyboard_only": "main.querySelector('a, input').style.outline = 'none'",
    "without_javascript": "main.innerHTML += '<h2>Only a script made this</h2>'",
}


def test_each_check_finds_its_harm(site: Site, watched: Watched) -> None:
    sign_in(watched, site, Role.ADMIN)
    for name, script in HARM.items():
        watched.goto("/")
        check: Callable[[Watched, str], None] = getattr(browser_checks, name)
        check(watched, "harness")
        watched.page.evaluate(f"() => {{ const main = document.querySelector('main'); {script} }}")
        with pytest.raises(AssertionError):
            check(watched, f"harness-{name}")
    watched.goto("/")
    watched.page.evaluate("console.error('broken')")
    with pytest.raises(AssertionError, match="broken"):
        check_page(watched, "harness")


def test_the_work_list_stands_everything(site: Site, watched: Watched) -> None:
    site.add_study("alpha")
    sign_in(watched, site, Role.ADMIN)
    watched.goto("/")
    check_page(watched, "work-list-empty")
    stands_everything(watched, "work-list-empty")
