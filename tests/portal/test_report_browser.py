"""The report page in a real browser: readable by everybody, quick with a hundred findings, and what it looks like."""

from __future__ import annotations

import logging

import pytest

from portal.context import Role
from study.study import Patient
from tests.portal.browser_checks import SCREENSHOTS, Watched, check_page, sign_in, stands_everything
from tests.portal.portal_site import Site
from tests.portal.report_seed import compared_report
from tests.portal.seeds import write_report

log = logging.getLogger(__name__)

pytestmark = pytest.mark.browser

JANE = Patient("P-1042", "LINDQVIST^JANE", "19580312", "F", "068Y")
HEADER = {
    "patient_name": JANE.name, "patient_id": JANE.patient_id, "accession_number": "A-2026-0042",
    "study_date": "20261120", "description": "CT chest, low dose",
}  # fmt: skip
FIRST_PAINT_MS_MAX = 500
LOADS = 5

_FIRST_PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"


def seeded(site: Site, count: int) -> str:
    study_id = site.add_study("alpha", header=HEADER)
    write_report(site, study_id, compared_report(study_id, JANE, count))
    return study_id


def test_a_report_stands_everything_in_both_languages(watched: Watched, site: Site) -> None:
    study_id = seeded(site, 3)
    sign_in(watched, site, Role.RADIOLOGIST)
    watched.goto(f"/studies/{study_id}")
    watched.page.locator(".report-images img").last.scroll_into_view_if_needed()
    watched.page.evaluate("window.scrollTo(0, 0)")
    # The conclusion and the finding table are read without scrolling.
    for part in (".report-conclusion", ".report-findings thead"):
        box = watched.page.locator(part).bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < 900, part
    watched.page.screenshot(path=SCREENSHOTS / "report-first-screen.png")
    check_page(watched, "report")
    stands_everything(watched, "report")
    watched.page.get_by_role("link", name="中文").click()
    watched.page.wait_for_url("**language=zh")
    assert watched.page.locator("article.report").get_attribute("lang") == "zh-Hans"
    check_page(watched, "report-zh")


def test_a_hundred_findings_are_painted_at_once_and_small_on_the_wire(watched: Watched, site: Site) -> None:
    study_id = seeded(site, 100)
    sign_in(watched, site, Role.RADIOLOGIST)
    painted = []
    for _ in range(LOADS):
        watched.goto(f"/studies/{study_id}")
        painted.append(watched.page.wait_for_function(_FIRST_PAINT).json_value())
    log.info("first contentful paint at 100 findings: %s ms", sorted(round(ms) for ms in painted))
    assert watched.page.locator(".report-findings tbody tr:not(.report-rule)").count() == 100
    assert watched.page.locator(".report-explained details").count() == 96
    check_page(watched, "report-100")
    assert min(painted) < FIRST_PAINT_MS_MAX
