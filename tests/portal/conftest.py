"""A portal over a real PostgreSQL with two tenants, and one Chromium for every test that wants to see it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from argon2 import PasswordHasher
from playwright.sync_api import Browser, sync_playwright
from psycopg.rows import dict_row

from pipeline.database import Database
from portal import passwords
from portal.context import PortalContext
from tests.conftest import fresh_database
from tests.portal.browser_checks import CHROMIUM, CHROMIUM_ARGUMENTS, Watched, watch
from tests.portal.dicomweb_archive import Archive, open_archive
from tests.portal.live_portal import live_portal
from tests.portal.portal_site import Site


@contextlib.contextmanager
def open_site(database_url: str, data_root: Path) -> Iterator[Site]:
    database = Database(database_url, pool_size_max=4)
    owner = psycopg.connect(database_url, autocommit=True, row_factory=dict_row)
    made = Site(database, PortalContext(database, data_root), owner)
    made.add_tenant("alpha")
    made.add_tenant("beta", language="zh")
    yield made
    owner.close()
    database.close()


@pytest.fixture(scope="session", autouse=True)
def cheap_hashes() -> Iterator[PasswordHasher]:
    """Thousands of sign-ins in tests: argon2 with a thousandth of the work. Gives the real one."""
    real = passwords._hasher
    passwords._hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    passwords._unknown_user_hash.cache_clear()
    yield real
    passwords._hasher = real
    passwords._unknown_user_hash.cache_clear()


@pytest.fixture
def site(migrated_url: str, tmp_path: Path) -> Iterator[Site]:
    with open_site(migrated_url, tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def shared_site(
    postgres_url: str, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """One site for all tests of a module, for those that seed much and look at many pages."""
    with (
        fresh_database(postgres_url, template=migrated_template) as url,
        open_site(url, tmp_path_factory.mktemp("site")) as made,
    ):
        yield made


@pytest.fixture(scope="module")
def shared_url(shared_site: Site) -> Iterator[str]:
    """Address of the portal of `shared_site`."""
    with live_portal(shared_site) as live:
        yield live.url


@pytest.fixture
def portal_url(site: Site) -> Iterator[str]:
    with live_portal(site) as live:
        yield live.url


@pytest.fixture(scope="session")
def chromium() -> Iterator[tuple[Browser, asyncio.AbstractEventLoop]]:
    """The Chromium of all tests and Playwright's loop; take `browser`."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        loop = asyncio.get_running_loop()
        asyncio._set_running_loop(None)
        yield browser, loop
        asyncio._set_running_loop(loop)
        browser.close()


@pytest.fixture
def browser(chromium: tuple[Browser, asyncio.AbstractEventLoop]) -> Iterator[Browser]:
    """The Chromium of all tests; its pages are closed after each.

    Between its calls Playwright's loop counts as running in this thread; for tests that use no browser it must not.
    """
    browser, loop = chromium
    asyncio._set_running_loop(loop)
    yield browser
    for context in browser.contexts:
        context.close()
    asyncio._set_running_loop(None)


@pytest.fixture
def watched(portal_url: str, browser: Browser) -> Watched:
    return watch(browser, portal_url)


@pytest.fixture(scope="session")
def archive(
    postgres_url: str, migrated_template: str, shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Archive]:
    """A listening portal whose store holds images in many transfer syntaxes."""
    with (
        fresh_database(postgres_url, template=migrated_template) as url,
        open_site(url, tmp_path_factory.mktemp("archive")) as opened,
        open_archive(opened, shared_data) as made,
    ):
        yield made
