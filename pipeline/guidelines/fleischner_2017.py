"""Fleischner Society 2017, for nodules found by chance in adults of 35 years and more.

Source: MacMahon H. et al., Guidelines for Management of Incidental Pulmonary Nodules Detected on CT Images. Radiology
2017;284(1):228-243, table 1. Not for screening, known primary cancer or immunosuppression. Sizes are means of long and
short axis, rounded to whole mm.
"""

from __future__ import annotations

from fractions import Fraction

from pipeline.guidelines.advise import Advice, Guideline, NotApplicable, Verdict
from pipeline.guidelines.inputs import Case, Risk, Setting
from study.nodule import NoduleKind

AGE_MIN_YEARS = 35
_NONE = "No routine follow-up."
_OPTIONAL = "CT at 12 months is optional."
_PERSISTENCE = "CT at 3 to 6 months to confirm persistence."


def read(case: Case) -> Verdict:
    """Table 1."""
    assert case.age_years is not None
    assert case.nodule_count is not None
    if case.setting is Setting.SCREENING:
        return NotApplicable("Fleischner 2017 is not for lung cancer screening.")
    if case.age_years < AGE_MIN_YEARS:
        return NotApplicable(f"Fleischner 2017 is for patients of {AGE_MIN_YEARS} years and more.")
    if case.has_known_cancer:
        return NotApplicable("Fleischner 2017 is not for patients with a known primary cancer.")
    if case.is_immunosuppressed:
        return NotApplicable("Fleischner 2017 is not for immunosuppressed patients.")
    if case.kind is NoduleKind.CALCIFIED and case.has_benign_calcification:
        return Advice("none", "benign calcification", _NONE)
    size = rounded_mm(case.mean_diameter_mm)
    if case.kind in (NoduleKind.SOLID, NoduleKind.CALCIFIED):
        return _solid(size, case.risk, is_single=case.nodule_count == 1)
    if case.nodule_count > 1:
        return _several_subsolid(size)
    return _ground_glass(size) if case.kind is NoduleKind.GROUND_GLASS else _part_solid(size)


def rounded_mm(diameter_mm: float) -> int:
    """To the nearest whole mm, halves up."""
    return int(Fraction(diameter_mm) + Fraction(1, 2))


def _solid(size: int, risk: Risk | None, *, is_single: bool) -> Advice:
    words = f"solid, {'single' if is_single else 'multiple'}, "
    later = "then CT at 18 to 24 months" if risk is Risk.HIGH else "then consider CT at 18 to 24 months"
    at_risk = f", {risk} risk"
    if size < 6:
        return Advice("< 6 mm", f"{words}< 6 mm{at_risk}", _OPTIONAL if risk is Risk.HIGH else _NONE)
    if not is_single:
        stretch = "6 to 8 mm" if size <= 8 else "> 8 mm"
        return Advice(stretch, f"{words}{stretch}{at_risk}", f"CT at 3 to 6 months, {later}.")
    if size <= 8:
        return Advice("6 to 8 mm", f"{words}6 to 8 mm{at_risk}", f"CT at 6 to 12 months, {later}.")
    return Advice("> 8 mm", f"{words}> 8 mm", "Consider CT at 3 months, PET/CT or tissue sampling.")


def _ground_glass(size: int) -> Advice:
    if size < 6:
        return Advice("< 6 mm", "ground-glass, single, < 6 mm", _NONE)
    management = "CT at 6 to 12 months to confirm persistence, then CT every 2 years until 5 years."
    return Advice("≥ 6 mm", "ground-glass, single, ≥ 6 mm", management)


def _part_solid(size: int) -> Advice:
    if size < 6:
        return Advice("< 6 mm", "part-solid, single, < 6 mm", _NONE)
    management = f"{_PERSISTENCE} If unchanged and the solid part remains < 6 mm, CT each year for 5 years."
    return Advice("≥ 6 mm", "part-solid, single, ≥ 6 mm", management)


def _several_subsolid(size: int) -> Advice:
    if size < 6:
        management = "CT at 3 to 6 months. If stable, consider CT at 2 and 4 years."
        return Advice("< 6 mm", "subsolid, multiple, < 6 mm", management)
    management = "CT at 3 to 6 months; further management by the most suspicious nodule."
    return Advice("≥ 6 mm", "subsolid, multiple, ≥ 6 mm", management)


FLEISCHNER_2017 = Guideline(
    "fleischner_2017",
    "Fleischner 2017",
    "MacMahon et al., Radiology 2017;284(1):228-243, table 1",
    ("none", "< 6 mm", "≥ 6 mm", "6 to 8 mm", "> 8 mm"),
    (
        "kind", "nodule_count", "has_benign_calcification", "setting", "age_years", "has_known_cancer",
        "is_immunosuppressed", "risk",
    ),
    read,
)  # fmt: skip
