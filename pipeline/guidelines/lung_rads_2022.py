"""Lung-RADS v2022 (American College of Radiology, November 2022), for lung cancer screening with low-dose CT.

Source: Christensen J. et al., ACR Lung-RADS v2022: Assessment Categories and Management Recommendations. Chest 2024;
165(3):738-753. Not covered: airway nodules, cysts, category 0, 4X and S; they need a reader.
Sizes are mean diameters in mm to one decimal.
"""

from __future__ import annotations

from pipeline.guidelines.advise import (
    Advice,
    Guideline,
    NotApplicable,
    Stretches,
    Verdict,
    find_stretch,
)
from pipeline.guidelines.inputs import Case, Course, Setting
from study.nodule import NoduleKind

MANAGEMENT = {
    "1": "Screening with low-dose CT in 12 months.",
    "2": "Screening with low-dose CT in 12 months.",
    "3": "Low-dose CT in 6 months.",
    "4A": "Low-dose CT in 3 months; PET/CT may be considered where a solid nodule or solid part measures 8 mm or more.",
    "4B": "Referral for further clinical evaluation: diagnostic chest CT with or without contrast, PET/CT where a "
    "solid nodule or solid part measures 8 mm or more, tissue sampling.",
}
_JUXTAPLEURAL_BELOW_MM = 10.0


def read(case: Case) -> Verdict:
    """The table for nodules at baseline, new or growing; after that the steps for what is stable."""
    if case.setting is not Setting.SCREENING:
        return NotApplicable("Lung-RADS is for examinations of lung cancer screening.")
    if case.kind is NoduleKind.CALCIFIED:
        return _calcified(case)
    size = round(case.mean_diameter_mm, 1)
    if case.kind is NoduleKind.GROUND_GLASS:
        return _ground_glass(size, case.course)
    if case.course is Course.STABLE:
        return _stable(case.prior_category)
    if case.kind is NoduleKind.PART_SOLID:
        assert case.solid_part_mm is not None
        return _part_solid(size, round(case.solid_part_mm, 1), case.course)
    if size < _JUXTAPLEURAL_BELOW_MM and case.is_juxtapleural_benign and case.course is not Course.GROWING:
        return _advice("2", "juxtapleural, solid, smooth and oval, lentiform or triangular, < 10 mm")
    return _solid(size, case.course)


def _calcified(case: Case) -> Verdict:
    if case.has_benign_calcification:
        return _advice("1", "complete, central, popcorn or concentric calcification")
    return _solid(round(case.mean_diameter_mm, 1), case.course)


def _solid(size: float, course: Course | None) -> Advice:
    if course is Course.NEW:
        edges = (
            (4, "2", "< 4 mm"),
            (6, "3", "4 to < 6 mm"),
            (8, "4A", "6 to < 8 mm"),
            (None, "4B", "≥ 8 mm"),
        )
        return _row(size, edges, "solid, new, ")
    if course is Course.GROWING:
        return _row(size, ((8, "4A", "< 8 mm"), (None, "4B", "≥ 8 mm")), "solid, growing, ")
    edges = ((6, "2", "< 6 mm"), (8, "3", "6 to < 8 mm"), (15, "4A", "8 to < 15 mm"), (None, "4B", "≥ 15 mm"))
    return _row(size, edges, "solid, at baseline, ")


def _part_solid(size: float, solid_part: float, course: Course | None) -> Advice:
    if course in (Course.NEW, Course.GROWING):
        if course is Course.NEW and size < 6:
            return _advice("3", "part-solid, new, < 6 mm")
        parts = ((4, "4A", "solid part < 4 mm"), (None, "4B", "solid part ≥ 4 mm"))
        return _row(solid_part, parts, f"part-solid, {course}, ")
    if size < 6:
        return _advice("2", "part-solid, at baseline, < 6 mm")
    edges = (
        (6, "3", "solid part < 6 mm"),
        (8, "4A", "solid part 6 to < 8 mm"),
        (None, "4B", "solid part ≥ 8 mm"),
    )
    return _row(solid_part, edges, "part-solid, at baseline, ≥ 6 mm, ")


def _ground_glass(size: float, course: Course | None) -> Advice:
    if size < 30:
        return _advice("2", "ground-glass, < 30 mm at baseline, new or growing")
    if course is Course.STABLE:
        return _advice("2", "ground-glass, ≥ 30 mm, stable or slowly growing")
    return _advice("3", "ground-glass, ≥ 30 mm at baseline or new")


def _stable(prior_category: str | None) -> Advice:
    """Stepped management: a category is left one step at a time."""
    if prior_category == "3":
        return _advice("2", "category 3, stable or smaller at the 6-month follow-up")
    if prior_category == "4A":
        return _advice("3", "category 4A, stable or smaller at the 3-month follow-up")
    if prior_category == "4B":
        return _advice("4B", "category 4B, not proven benign")
    return _advice("2", "category 2, stable")


def _row(value: float, stretches: Stretches, words: str) -> Advice:
    category, stretch = find_stretch(value, stretches)
    return _advice(category, words + stretch)


def _advice(category: str, rule: str) -> Advice:
    return Advice(category, rule, MANAGEMENT[category])


LUNG_RADS_2022 = Guideline(
    "lung_rads_2022",
    "Lung-RADS v2022",
    "Christensen et al., Chest 2024;165(3):738-753",
    ("1", "2", "3", "4A", "4B"),
    (
        "kind", "solid_part_mm", "course", "prior_category", "has_benign_calcification", "is_juxtapleural_benign",
        "setting",
    ),
    read,
)  # fmt: skip
