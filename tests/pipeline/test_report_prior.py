"""Lobe, kind, solid part and what became of each nodule since the prior study, on the report page."""

from __future__ import annotations

import json
import re

import pytest

from pipeline import report_format
from pipeline.report_view import ReportView
from tests.pipeline.test_report import html_of
from tests.report_builders import PRIOR, compared_findings, lung_volume, report


@pytest.fixture
def view() -> ReportView:
    volume = lung_volume()
    return report(volume=volume, findings=compared_findings(volume), prior=PRIOR)


def rows(view: ReportView, language: str = "en") -> list[str]:
    """The text of each row of the finding table."""
    table = html_of(view, language).split("<tbody>")[1].split("</tbody>")[0]
    return [" ".join(re.sub(r"<[^>]+>|&nbsp;", " ", row).split()) for row in table.split("<tr>")[1:]]


def test_each_row_says_lobe_kind_solid_part_and_change(view: ReportView) -> None:
    grown, new = rows(view)
    assert "right lower lobe 12 mm from the pleura solid 7.2" in grown
    assert "250 113 6.0 mm +121 % grown" in grown
    assert re.search(r"95 %: \+\d+ % to \+\d+ % 160 \d+–\d+ —", grown)
    assert "left upper lobe touches the pleura part-solid solid part 3.1 mm" in new
    assert re.search(r"78 new —", new)


def test_the_conclusion_counts_what_changed_and_names_what_is_gone(view: ReportView) -> None:
    html = " ".join(re.sub(r"<[^>]+>", " ", html_of(view)).split())
    assert "Compared with the prior study: 2024-09-01 · 1 grown · 1 new · 1 no longer seen" in html
    assert "No longer seen: right upper lobe, mean diameter then 5.2 mm, 74 mm³" in html
    assert "change over time were not" not in html
    assert "other organs and other findings were not" in html


def test_it_is_told_in_chinese_too(view: ReportView) -> None:
    grown, new = rows(view, "zh")
    assert "右肺下叶 距胸膜 12 mm 实性" in grown
    assert "+121 % 增大" in grown
    assert "部分实性 实性成分 3.1 mm" in new
    assert "新发" in new
    assert "无法" not in grown


def test_without_a_prior_the_column_is_a_dash_and_nothing_is_said_of_change() -> None:
    html = html_of(report())
    assert "Compared with the prior study" not in html
    assert "change over time were not" in html


def test_a_stored_report_is_read_back(view: ReportView) -> None:
    record = json.loads(json.dumps(view.as_json()))
    assert ReportView.from_json(record) == view.without_pixels()
    del record["resolved"]
    for row in record["findings"]:
        for key in ("solid_part_mm", "pleura_distance_mm"):
            del row[key]
        row["prior"] = None
    older = ReportView.from_json(record)  # as it was stored before there were comparisons
    assert older.resolved == ()


@pytest.mark.parametrize(
    ("percent", "text"),
    [(12.4, "+12\u202f%"), (-33.0, "\u221233\u202f%"), (0.2, "+0\u202f%"), (700.0, "×8.0")],
)
def test_a_change_has_its_sign(percent: float, text: str) -> None:
    assert report_format.change(percent) == text


def test_an_interval_without_an_end_is_told_by_its_beginning() -> None:
    assert report_format.day_span((150.2, 400.0)) == "150–400"
    assert report_format.day_span((150.2, None)) == "≥\u202f150"
