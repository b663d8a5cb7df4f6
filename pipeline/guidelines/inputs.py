"""What guidelines ask for. None means that it is not known; nothing is assumed in its place."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from study.nodule import NoduleKind


class Setting(StrEnum):
    """Why the examination was made."""

    SCREENING = "screening"
    INCIDENTAL = "incidental"


class Risk(StrEnum):
    """Clinical risk of lung cancer, as a physician judges it."""

    LOW = "low"
    HIGH = "high"


class Course(StrEnum):
    """A nodule against earlier studies."""

    BASELINE = "baseline"
    """No earlier study to compare with."""
    NEW = "new"
    GROWING = "growing"
    """Mean diameter more than 1.5 mm greater within 12 months."""
    STABLE = "stable"
    """Neither new nor growing; smaller counts as stable."""


@dataclass(frozen=True)
class Case:
    """One nodule with what is known of it, of the examination and of the patient.

    nodule_count: nodules of its class (solid and calcified, or subsolid) in the examination, this one included.
    prior_category: what the same guideline said of it before. brock_percent: risk of malignancy by the Brock model.
    has_benign_calcification: complete, central, popcorn or concentric. is_juxtapleural_benign: at the pleura, smooth,
    oval, lentiform or triangular.
    """

    kind: NoduleKind | None
    mean_diameter_mm: float
    volume_mm3: float | None = None
    solid_part_mm: float | None = None
    nodule_count: int | None = None
    course: Course | None = None
    prior_category: str | None = None
    has_benign_calcification: bool | None = None
    is_juxtapleural_benign: bool | None = None
    setting: Setting | None = None
    age_years: float | None = None
    has_known_cancer: bool | None = None
    is_immunosuppressed: bool | None = None
    risk: Risk | None = None
    brock_percent: float | None = None


# What an unknown input could be; of a number, one value from each stretch in which no table has an edge.
POSSIBLE: dict[str, tuple[object, ...]] = {
    "kind": tuple(NoduleKind),
    "solid_part_mm": (1.0, 5.0, 7.0, 9.0, 20.0),
    "nodule_count": (1, 2),
    "course": tuple(Course),
    "prior_category": ("2", "3", "4A", "4B"),
    "has_benign_calcification": (False, True),
    "is_juxtapleural_benign": (False, True),
    "setting": tuple(Setting),
    "age_years": (10.0, 20.0, 60.0),
    "has_known_cancer": (False, True),
    "is_immunosuppressed": (False, True),
    "risk": tuple(Risk),
    "brock_percent": (1.0, 50.0),
}
INPUT_WORDS = {
    "kind": "the type of the nodule",
    "solid_part_mm": "the size of its solid part",
    "nodule_count": "the number of nodules",
    "course": "whether it is new or has grown",
    "prior_category": "its earlier category",
    "has_benign_calcification": "the pattern of its calcification",
    "is_juxtapleural_benign": "its shape at the pleura",
    "setting": "whether this is screening",
    "age_years": "the patient's age",
    "has_known_cancer": "whether the patient has a known cancer",
    "is_immunosuppressed": "whether the patient is immunosuppressed",
    "risk": "the clinical risk of lung cancer",
    "brock_percent": "the risk by the Brock model",
}
