"""Findings as guidelines see them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from pipeline.guidelines.advise import Abstains, Advice
from pipeline.guidelines.inputs import Course, Setting
from pipeline.guidelines.of_findings import (
    ChosenGuideline,
    GuidelineRead,
    advise_on,
    apply_guideline,
    course_of,
)
from pipeline.guidelines.registry import GUIDELINES
from pipeline.guidelines.words import sentence
from study.findings import Finding
from study.nodule import Comparison, NoduleFeatures, NoduleKind
from study.study import Patient, Study
from tests.report_builders import lung_volume, two_findings

ADULT = Study("1.2", (), Patient(age="061Y"), study_date="20260601")


def chosen(name: str, setting: Setting | None = Setting.SCREENING) -> ChosenGuideline:
    return ChosenGuideline(GUIDELINES[name], setting)


def nodule(kind: NoduleKind, size: float, number: int = 1, **changes: Any) -> Finding:
    finding = two_findings(lung_volume())[0]
    features = NoduleFeatures(kind, pleura_distance_mm=8.0, **changes)
    return replace(finding, id=number, mean_diameter_mm=size, nodule=features)


@pytest.mark.parametrize(
    ("size", "comparison", "course"),
    [
        (9.0, None, Course.BASELINE),
        (9.0, Comparison("new", "20250601", 365), Course.NEW),
        (9.0, Comparison("matched", "20250601", 365, 7.4), Course.GROWING),
        (9.0, Comparison("matched", "20250601", 365, 7.5), Course.STABLE),
        (9.0, Comparison("matched", "20250601", 365, 12.0), Course.STABLE),
        (9.0, Comparison("matched", "20240601", 730, 7.0), None),
        (9.0, Comparison("matched", "20240601", 730, 8.0), Course.STABLE),
        (9.0, Comparison("matched", "20250601", 365), None),
    ],
)
def test_the_course_of_a_nodule(size: float, comparison: Comparison | None, course: Course | None) -> None:
    assert course_of(size, comparison) == course


def test_each_finding_gets_its_category_with_the_rule_in_both_languages() -> None:
    findings = (nodule(NoduleKind.SOLID, 9.2, 1), nodule(NoduleKind.PART_SOLID, 12.0, 2, solid_part_mm=5.0))
    verdicts = advise_on(chosen("lung_rads_2022"), ADULT, findings)
    first, second = verdicts[1], verdicts[2]
    assert isinstance(first, Advice)
    assert isinstance(second, Advice)
    assert (first.category, second.category) == ("4A", "3")
    assert sentence(first, "en").startswith("Solid, at baseline, 8 to < 15 mm: Low-dose CT in 3 months")
    assert sentence(first, "zh").startswith("实性，基线，8 至 < 15 mm：3 个月后低剂量 CT")


def test_a_nodule_at_the_pleura_whose_shape_nobody_told_gets_none() -> None:
    finding = nodule(NoduleKind.SOLID, 7.0)
    at_pleura = replace(finding, nodule=NoduleFeatures(NoduleKind.SOLID, pleura_distance_mm=0.0))
    verdict = advise_on(chosen("lung_rads_2022"), ADULT, (at_pleura,))[1]
    assert verdict == Abstains(("is_juxtapleural_benign",))


def test_solid_and_subsolid_nodules_are_counted_apart() -> None:
    findings = (
        nodule(NoduleKind.GROUND_GLASS, 7.0, 1),
        nodule(NoduleKind.SOLID, 7.0, 2),
        nodule(NoduleKind.CALCIFIED, 5.0, 3),
    )
    verdicts = advise_on(chosen("fleischner_2017", Setting.INCIDENTAL), ADULT, findings)
    assert verdicts[1] == Abstains(("has_known_cancer", "is_immunosuppressed")), (
        "a single one: the risk plays no part"
    )
    assert isinstance(verdicts[2], Abstains)
    assert "risk" in verdicts[2].missing


def test_what_the_model_does_not_tell_makes_the_guideline_abstain() -> None:
    finding = replace(two_findings(lung_volume())[0], nodule=None)
    verdict = advise_on(chosen("c_lung_rads_2024"), ADULT, (finding,))[finding.id]
    assert isinstance(verdict, Abstains)
    assert "kind" in verdict.missing


def test_the_most_pressing_category_stands_for_the_study_and_all_of_it_survives_as_json() -> None:
    findings = (
        nodule(NoduleKind.SOLID, 5.0, 1),
        nodule(NoduleKind.SOLID, 16.0, 2),
        nodule(NoduleKind.PART_SOLID, 9.0, 3),
    )
    read = apply_guideline(chosen("lung_rads_2022"), ADULT, findings)
    assert (read.title, read.worst) == ("Lung-RADS v2022", "4B")
    assert [read.category_of(number) for number in (1, 2, 3, 4)] == ["2", "4B", None, None]
    assert read.notes[2].en == "Not given, for this is not known: the size of its solid part."
    assert GuidelineRead.from_json(json.loads(json.dumps(asdict(read)))) == read


def test_every_category_that_a_table_gives_has_its_rank() -> None:
    for guideline in GUIDELINES.values():
        assert len(set(guideline.categories)) == len(guideline.categories)
