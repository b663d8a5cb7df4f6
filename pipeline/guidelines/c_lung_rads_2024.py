"""C-Lung-RADS: the Chinese Lung Nodules Reporting and Data System, for check-ups and screening; its first step.

Source: Wang C. et al., Data-driven risk stratification and precision management of pulmonary nodules detected on chest
computed tomography. Nature Medicine 2024;30(11):3184-3195, table 1. Not covered: its later steps, which raise category
2 or 3 to 4 where a multidimensional model gives a probability of 0.5 or more. Sizes are mean diameters in mm.
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
from pipeline.guidelines.inputs import Case, Setting
from study.nodule import NoduleKind

MANAGEMENT = {
    "0": "Annual screening with low-dose CT in 12 months.",
    "1": "Annual screening with low-dose CT in 12 months.",
    "2": "CT in 6 months.",
    "3": "CT in 3 months; high-resolution CT or PET/CT may be considered.",
    "4": "Immediate clinical assessment, which may include diagnostic CT, PET/CT where a solid nodule or solid part "
    "measures 8 mm or more, and tissue sampling.",
}


def read(case: Case) -> Verdict:
    """Table 1."""
    if case.setting is not Setting.SCREENING:
        return NotApplicable("C-Lung-RADS is for examinations of check-ups and lung cancer screening.")
    size = case.mean_diameter_mm
    if case.kind is NoduleKind.CALCIFIED:
        return _advice("0", "calcified")
    if case.kind is NoduleKind.PART_SOLID:
        assert case.solid_part_mm is not None
        if size < 6:
            return _advice("1", "part-solid, < 6 mm")
        parts = (
            (6, "2", "solid part < 6 mm"),
            (10, "3", "solid part 6 to < 10 mm"),
            (None, "4", "solid part ≥ 10 mm"),
        )
        return _row(case.solid_part_mm, parts, "part-solid, ≥ 6 mm, ")
    if case.kind is NoduleKind.GROUND_GLASS:
        return _row(
            size, ((6, "1", "< 6 mm"), (20, "2", "6 to < 20 mm"), (None, "3", "≥ 20 mm")), "ground-glass, "
        )
    edges = (
        (6, "1", "< 6 mm"),
        (10, "2", "6 to < 10 mm"),
        (18, "3", "10 to < 18 mm"),
        (None, "4", "≥ 18 mm"),
    )
    return _row(size, edges, "solid, ")


def _row(value: float, stretches: Stretches, words: str) -> Advice:
    category, stretch = find_stretch(value, stretches)
    return _advice(category, words + stretch)


def _advice(category: str, rule: str) -> Advice:
    return Advice(category, rule, MANAGEMENT[category])


C_LUNG_RADS_2024 = Guideline(
    "c_lung_rads_2024",
    "C-Lung-RADS",
    "Wang et al., Nature Medicine 2024;30(11):3184-3195, table 1",
    ("0", "1", "2", "3", "4"),
    ("kind", "solid_part_mm", "setting"),
    read,
)
