"""British Thoracic Society 2015, for nodules of adults however they were found: its first step.

Source: Callister M.E.J. et al., BTS guidelines for the investigation and management of pulmonary nodules. Thorax
2015;70 Suppl 2:ii1-ii54, algorithms 1, 2 and 4. Volume is preferred, diameter serves where there is none. Not
covered: what follows from growth at surveillance, which goes by volume doubling time.
"""

from __future__ import annotations

from pipeline.guidelines.advise import Advice, Guideline, NotApplicable, Verdict
from pipeline.guidelines.inputs import Case
from study.nodule import NoduleKind

AGE_MIN_YEARS = 18
_DISCHARGE = "Discharge: no follow-up."
_SURVEILLANCE = "CT at 3 months, then at 1 year from baseline."


def read(case: Case) -> Verdict:
    """Algorithm 1; for subsolid nodules algorithm 4."""
    assert case.age_years is not None
    assert case.brock_percent is not None
    if case.age_years < AGE_MIN_YEARS:
        return NotApplicable("BTS 2015 is for adults.")
    if case.kind is NoduleKind.CALCIFIED and case.has_benign_calcification:
        return Advice("discharge", "diffuse, central, laminated or popcorn calcification", _DISCHARGE)
    if case.is_juxtapleural_benign:
        return Advice("discharge", "typical perifissural or subpleural nodule", _DISCHARGE)
    if case.kind in (NoduleKind.GROUND_GLASS, NoduleKind.PART_SOLID):
        return _subsolid(case.mean_diameter_mm)
    if case.volume_mm3 is not None:
        return _by_volume(case.volume_mm3, case.brock_percent)
    return _by_diameter(case.mean_diameter_mm, case.brock_percent)


def _by_volume(volume: float, brock: float) -> Advice:
    if volume < 80:
        return Advice("discharge", "solid, < 80 mm³", _DISCHARGE)
    if volume < 300:
        return Advice("surveillance", "solid, 80 to < 300 mm³", _SURVEILLANCE)
    return _large("solid, ≥ 300 mm³", brock)


def _by_diameter(size: float, brock: float) -> Advice:
    if size < 5:
        return Advice("discharge", "solid, < 5 mm", _DISCHARGE)
    if size < 6:
        return Advice("surveillance", "solid, 5 to < 6 mm", "CT at 1 year.")
    if size < 8:
        return Advice("surveillance", "solid, 6 to < 8 mm", _SURVEILLANCE)
    return _large("solid, ≥ 8 mm", brock)


def _large(words: str, brock: float) -> Advice:
    if brock < 10:
        return Advice("surveillance", f"{words}, risk by the Brock model < 10 %", _SURVEILLANCE)
    management = "PET/CT, with the risk by the Herder model after it."
    return Advice("PET/CT", f"{words}, risk by the Brock model ≥ 10 %", management)


def _subsolid(size: float) -> Advice:
    if size < 5:
        return Advice("discharge", "subsolid, < 5 mm", _DISCHARGE)
    return Advice("surveillance", "subsolid, ≥ 5 mm", "Thin-section CT at 3 months.")


BTS_2015 = Guideline(
    "bts_2015",
    "BTS 2015",
    "Callister et al., Thorax 2015;70 Suppl 2:ii1-ii54",
    ("discharge", "surveillance", "PET/CT"),
    ("kind", "has_benign_calcification", "is_juxtapleural_benign", "age_years", "brock_percent"),
    read,
)
