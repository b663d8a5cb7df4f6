"""The tenant's guideline on the report: a category for each finding, the rule that gave it, or what is missing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.guidelines.inputs import Setting
from pipeline.guidelines.of_findings import ChosenGuideline
from pipeline.guidelines.registry import GUIDELINES
from pipeline.report_view import ReportView
from study.nodule import NoduleFeatures, NoduleKind
from tests.pipeline.test_report import html_of, text_of
from tests.report_builders import lung_volume, report, two_findings


def read_under(name: str, setting: Setting | None) -> ReportView:
    solid = NoduleFeatures(NoduleKind.SOLID, pleura_distance_mm=5.0)
    findings = tuple(replace(one, nodule=solid) for one in two_findings(lung_volume()))
    return report(findings=findings, guideline=ChosenGuideline(GUIDELINES[name], setting))


def test_each_finding_has_its_category_and_the_worst_stands_in_the_conclusion() -> None:
    view = read_under("lung_rads_2022", Setting.SCREENING)
    assert [(row.mean_diameter_mm, row.category) for row in view.findings] == [(7.2, "3"), (4.5, "2")]
    text = text_of(view)
    assert "Lung-RADS v2022 3 2 findings marked as possible pulmonary nodules" in text
    assert "Solid, at baseline, 6 to < 8 mm: Low-dose CT in 6 months." in text
    assert "Christensen et al., Chest 2024" in text


def test_what_is_missing_is_named_instead_of_a_category() -> None:
    view = read_under("lung_rads_2022", None)
    assert [row.category for row in view.findings] == [None, None]
    text = text_of(view)
    assert "Guideline category: Lung-RADS v2022: not given, see below" in text
    assert text.count("Not given, for this is not known: whether this is screening.") == 2


def test_a_report_without_a_guideline_says_so() -> None:
    assert "Guideline category: none: no guideline was chosen" in text_of(report())


@pytest.mark.parametrize("name", sorted(GUIDELINES))
def test_the_chinese_report_gives_rule_and_advice_in_chinese(name: str) -> None:
    view = read_under(name, Setting.SCREENING)
    assert view.guideline is not None
    html = html_of(view, "zh")
    assert all(note.zh in html.replace("&lt;", "<") for note in view.guideline.notes)
    assert not any(note.en in html for note in view.guideline.notes)


def test_the_view_survives_as_json_with_its_guideline() -> None:
    view = read_under("bts_2015", None).without_pixels()
    assert ReportView.from_json(view.as_json()) == view
