"""Every cell of the published tables, at both of its edges; sources are in the modules."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.guidelines.advise import Advice, NotApplicable, advise
from pipeline.guidelines.fleischner_2017 import rounded_mm
from pipeline.guidelines.inputs import Case, Course, Risk, Setting
from pipeline.guidelines.registry import GUIDELINES
from study.nodule import NoduleKind

SOLID, PART, GROUND, CALCIFIED = (
    NoduleKind.SOLID,
    NoduleKind.PART_SOLID,
    NoduleKind.GROUND_GLASS,
    NoduleKind.CALCIFIED,
)
BASELINE, NEW, GROWING, STABLE = Course.BASELINE, Course.NEW, Course.GROWING, Course.STABLE
LUNG_RADS = {"setting": Setting.SCREENING, "is_juxtapleural_benign": False}
FLEISCHNER = {
    "setting": Setting.INCIDENTAL,
    "age_years": 60.0,
    "has_known_cancer": False,
    "is_immunosuppressed": False,
    "nodule_count": 1,
}
BTS = {"age_years": 60.0, "is_juxtapleural_benign": False}


def advice(guideline: str, **known: Any) -> Advice:
    verdict = advise(GUIDELINES[guideline], Case(**known))
    assert isinstance(verdict, Advice), verdict
    return verdict


@pytest.mark.parametrize(
    ("kind", "course", "size", "solid_part", "category"),
    [
        # solid
        (SOLID, BASELINE, 5.9, None, "2"), (SOLID, BASELINE, 6.0, None, "3"), (SOLID, BASELINE, 7.9, None, "3"),
        (SOLID, BASELINE, 8.0, None, "4A"), (SOLID, BASELINE, 14.9, None, "4A"), (SOLID, BASELINE, 15.0, None, "4B"),
        (SOLID, NEW, 3.9, None, "2"), (SOLID, NEW, 4.0, None, "3"), (SOLID, NEW, 5.9, None, "3"),
        (SOLID, NEW, 6.0, None, "4A"), (SOLID, NEW, 7.9, None, "4A"), (SOLID, NEW, 8.0, None, "4B"),
        (SOLID, GROWING, 4.0, None, "4A"), (SOLID, GROWING, 7.9, None, "4A"), (SOLID, GROWING, 8.0, None, "4B"),
        # part-solid
        (PART, BASELINE, 5.9, 5.0, "2"), (PART, BASELINE, 6.0, 5.9, "3"), (PART, BASELINE, 20.0, 6.0, "4A"),
        (PART, BASELINE, 20.0, 7.9, "4A"), (PART, BASELINE, 20.0, 8.0, "4B"),
        (PART, NEW, 5.9, 2.0, "3"), (PART, NEW, 6.0, 3.9, "4A"), (PART, NEW, 6.0, 4.0, "4B"),
        (PART, GROWING, 9.0, 3.9, "4A"), (PART, GROWING, 9.0, 4.0, "4B"),
        # ground-glass
        (GROUND, BASELINE, 29.9, None, "2"), (GROUND, NEW, 29.9, None, "2"), (GROUND, GROWING, 29.9, None, "2"),
        (GROUND, BASELINE, 30.0, None, "3"), (GROUND, NEW, 30.0, None, "3"), (GROUND, STABLE, 30.0, None, "2"),
        # to one decimal
        (SOLID, BASELINE, 5.94, None, "2"), (SOLID, BASELINE, 5.96, None, "3"),
    ],
)  # fmt: skip
def test_lung_rads_v2022(
    kind: NoduleKind, course: Course, size: float, solid_part: float | None, category: str
) -> None:
    known = {"kind": kind, "course": course, "mean_diameter_mm": size, "solid_part_mm": solid_part}
    found = advice("lung_rads_2022", **known, **LUNG_RADS)
    assert found.category == category
    assert found.rule
    assert found.management.endswith(".")


@pytest.mark.parametrize(("before", "now"), [("2", "2"), ("3", "2"), ("4A", "3"), ("4B", "4B")])
def test_lung_rads_leaves_a_category_one_step_at_a_time(before: str, now: str) -> None:
    known = {"kind": SOLID, "course": STABLE, "mean_diameter_mm": 9.0, "prior_category": before}
    assert advice("lung_rads_2022", **known, **LUNG_RADS).category == now


def test_lung_rads_knows_benign_calcification_and_benign_juxtapleural_nodules() -> None:
    calcified = {"kind": CALCIFIED, "mean_diameter_mm": 12.0, "course": BASELINE, **LUNG_RADS}
    assert advice("lung_rads_2022", **calcified, has_benign_calcification=True).category == "1"
    assert advice("lung_rads_2022", **calcified, has_benign_calcification=False).category == "4A"
    at_pleura = {
        "kind": SOLID,
        "course": BASELINE,
        "setting": Setting.SCREENING,
        "is_juxtapleural_benign": True,
    }
    assert advice("lung_rads_2022", mean_diameter_mm=9.9, **at_pleura).category == "2"
    assert advice("lung_rads_2022", mean_diameter_mm=10.0, **at_pleura).category == "4A"


@pytest.mark.parametrize(
    ("kind", "size", "solid_part", "category"),
    [
        (CALCIFIED, 25.0, None, "0"),
        (SOLID, 5.9, None, "1"), (SOLID, 6.0, None, "2"), (SOLID, 9.9, None, "2"), (SOLID, 10.0, None, "3"),
        (SOLID, 17.9, None, "3"), (SOLID, 18.0, None, "4"),
        (PART, 5.9, 5.0, "1"), (PART, 6.0, 5.9, "2"), (PART, 12.0, 6.0, "3"), (PART, 12.0, 9.9, "3"),
        (PART, 12.0, 10.0, "4"),
        (GROUND, 5.9, None, "1"), (GROUND, 6.0, None, "2"), (GROUND, 19.9, None, "2"), (GROUND, 20.0, None, "3"),
    ],
)  # fmt: skip
def test_c_lung_rads(kind: NoduleKind, size: float, solid_part: float | None, category: str) -> None:
    known = {
        "kind": kind,
        "mean_diameter_mm": size,
        "solid_part_mm": solid_part,
        "setting": Setting.SCREENING,
    }
    assert advice("c_lung_rads_2024", **known).category == category


@pytest.mark.parametrize(
    ("count", "risk", "size", "says"),
    [
        (1, Risk.LOW, 5.4, "No routine follow-up."),
        (1, Risk.HIGH, 5.4, "CT at 12 months is optional."),
        (1, Risk.LOW, 6.0, "CT at 6 to 12 months, then consider CT at 18 to 24 months."),
        (1, Risk.HIGH, 8.4, "CT at 6 to 12 months, then CT at 18 to 24 months."),
        (1, Risk.LOW, 8.5, "Consider CT at 3 months, PET/CT or tissue sampling."),
        (1, Risk.HIGH, 30.0, "Consider CT at 3 months, PET/CT or tissue sampling."),
        (2, Risk.LOW, 5.4, "No routine follow-up."),
        (2, Risk.HIGH, 5.4, "CT at 12 months is optional."),
        (2, Risk.LOW, 6.0, "CT at 3 to 6 months, then consider CT at 18 to 24 months."),
        (2, Risk.HIGH, 8.0, "CT at 3 to 6 months, then CT at 18 to 24 months."),
        (2, Risk.LOW, 9.0, "CT at 3 to 6 months, then consider CT at 18 to 24 months."),
        (2, Risk.HIGH, 9.0, "CT at 3 to 6 months, then CT at 18 to 24 months."),
    ],
)
def test_fleischner_2017_solid(count: int, risk: Risk, size: float, says: str) -> None:
    known = {**FLEISCHNER, "kind": SOLID, "mean_diameter_mm": size, "risk": risk, "nodule_count": count}
    assert advice("fleischner_2017", **known).management == says


@pytest.mark.parametrize(
    ("kind", "count", "size", "says"),
    [
        (GROUND, 1, 5.4, "No routine follow-up."),
        (GROUND, 1, 5.5, "CT at 6 to 12 months to confirm persistence, then CT every 2 years until 5 years."),
        (PART, 1, 5.4, "No routine follow-up."),
        (
            PART,
            1,
            5.5,
            "CT at 3 to 6 months to confirm persistence. If unchanged and the solid part remains < 6 mm, CT each year "
            "for 5 years.",
        ),
        (GROUND, 2, 5.4, "CT at 3 to 6 months. If stable, consider CT at 2 and 4 years."),
        (PART, 3, 5.5, "CT at 3 to 6 months; further management by the most suspicious nodule."),
    ],
)
def test_fleischner_2017_subsolid_whatever_the_risk(
    kind: NoduleKind, count: int, size: float, says: str
) -> None:
    known = {**FLEISCHNER, "kind": kind, "mean_diameter_mm": size, "nodule_count": count}
    assert advice("fleischner_2017", **known).management == says


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"setting": Setting.SCREENING}, "not for lung cancer screening"),
        ({"age_years": 34.9}, "35 years and more"),
        ({"has_known_cancer": True}, "known primary cancer"),
        ({"is_immunosuppressed": True}, "immunosuppressed"),
    ],
)
def test_fleischner_2017_says_for_whom_it_is_not(changes: dict[str, Any], reason: str) -> None:
    case = Case(**{**FLEISCHNER, "kind": SOLID, "mean_diameter_mm": 7.0, "risk": Risk.LOW, **changes})
    verdict = advise(GUIDELINES["fleischner_2017"], case)
    assert isinstance(verdict, NotApplicable)
    assert reason in verdict.reason


def test_fleischner_rounds_halves_up() -> None:
    assert [rounded_mm(size) for size in (5.49, 5.5, 6.49, 7.5, 8.5)] == [5, 6, 6, 8, 9]


@pytest.mark.parametrize(
    ("known", "category", "says"),
    [
        ({"kind": SOLID, "volume_mm3": 79.0}, "discharge", "Discharge: no follow-up."),
        (
            {"kind": SOLID, "volume_mm3": 80.0},
            "surveillance",
            "CT at 3 months, then at 1 year from baseline.",
        ),
        (
            {"kind": SOLID, "volume_mm3": 299.0},
            "surveillance",
            "CT at 3 months, then at 1 year from baseline.",
        ),
        (
            {"kind": SOLID, "volume_mm3": 300.0, "brock_percent": 9.9},
            "surveillance",
            "CT at 3 months, then at 1 year from baseline.",
        ),
        (
            {"kind": SOLID, "volume_mm3": 300.0, "brock_percent": 10.0},
            "PET/CT",
            "PET/CT, with the risk by the Herder model after it.",
        ),
        ({"kind": SOLID, "mean_diameter_mm": 4.9}, "discharge", "Discharge: no follow-up."),
        ({"kind": SOLID, "mean_diameter_mm": 5.0}, "surveillance", "CT at 1 year."),
        (
            {"kind": SOLID, "mean_diameter_mm": 6.0},
            "surveillance",
            "CT at 3 months, then at 1 year from baseline.",
        ),
        (
            {"kind": SOLID, "mean_diameter_mm": 8.0, "brock_percent": 10.0},
            "PET/CT",
            "PET/CT, with the risk by the Herder model after it.",
        ),
        ({"kind": GROUND, "mean_diameter_mm": 4.9}, "discharge", "Discharge: no follow-up."),
        ({"kind": GROUND, "mean_diameter_mm": 5.0}, "surveillance", "Thin-section CT at 3 months."),
        ({"kind": PART, "mean_diameter_mm": 20.0}, "surveillance", "Thin-section CT at 3 months."),
        ({"kind": CALCIFIED, "has_benign_calcification": True}, "discharge", "Discharge: no follow-up."),
        ({"kind": SOLID, "is_juxtapleural_benign": True}, "discharge", "Discharge: no follow-up."),
    ],
)
def test_bts_2015(known: dict[str, Any], category: str, says: str) -> None:
    found = advice("bts_2015", **{"mean_diameter_mm": 8.0, **BTS, **known})
    assert (found.category, found.management) == (category, says)


def test_bts_2015_is_for_adults() -> None:
    verdict = advise(GUIDELINES["bts_2015"], Case(SOLID, 8.0, age_years=17.0, is_juxtapleural_benign=False))
    assert isinstance(verdict, NotApplicable)
