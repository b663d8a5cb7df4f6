"""What is said of a lung nodule beyond its size, and how it compares with an earlier study."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

# A nodule measures up to 3 cm, what is larger is called a mass (Hansell, Radiology 2008, the Fleischner glossary).
NODULE_UP_TO_MM = 30.0


class NoduleKind(StrEnum):
    """Attenuation of a nodule as Fleischner 2017 and Lung-RADS v2022 distinguish it."""

    SOLID = "solid"
    PART_SOLID = "part_solid"
    GROUND_GLASS = "ground_glass"
    CALCIFIED = "calcified"


@dataclass(frozen=True)
class NoduleFeatures:
    """kind: None where it could not be told. solid_part_mm, solid_part_long_axis_mm: mean diameter and long axis of the
    solid part of a part-solid nodule, on the axial slice where it is largest: Lung-RADS takes the one, Fleischner the
    other.

    lobe: "right upper lobe" …; None where no lobes are known. pleura_distance_mm: from its surface, 0 where it touches.
    """

    kind: NoduleKind | None = None
    solid_part_mm: float | None = None
    solid_part_long_axis_mm: float | None = None
    lobe: str | None = None
    pleura_distance_mm: float | None = None

    def __post_init__(self) -> None:
        if self.kind is not None:  # also from the text of a stored record
            object.__setattr__(self, "kind", NoduleKind(self.kind))


class Trend(StrEnum):
    """What became of a volume; a change within the error of measurement is none."""

    GROWN = "grown"
    SHRUNK = "shrunk"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Growth:
    """How a volume changed. Intervals hold 95 % of what repeated measurement of the two scans would give.

    change_percent: from -100. doubling_days: None where the volume did not become larger, or no time passed.
    doubling_days_interval: None without `doubling_days`; its end is None where no growth at all is possible too.
    """

    trend: Trend
    change_percent: float
    change_percent_interval: tuple[float, float]
    doubling_days: float | None = None
    doubling_days_interval: tuple[float, float | None] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "trend", Trend(self.trend))


@dataclass(frozen=True)
class Comparison:
    """The same nodule in an earlier study. state: "matched", or "new" where the earlier study showed none there.

    days: between the studies, None where a date is not known. Sizes are those of then. was_marked: whether the model
    had marked it there; else it was measured where the nodule of now would have been. center_lps_mm: that place in the
    earlier scan; None in records of older releases.
    """

    state: str
    study_date: str
    days: int | None = None
    mean_diameter_mm: float | None = None
    volume_mm3: float | None = None
    tracking_uid: str | None = None
    was_marked: bool = False
    growth: Growth | None = None
    center_lps_mm: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.growth, dict):  # of a stored record
            object.__setattr__(self, "growth", growth_from_json(self.growth))


def growth_from_json(record: dict[str, Any]) -> Growth:
    """The inverse of `asdict`."""
    values: dict[str, Any] = dict(record)
    for key in ("change_percent_interval", "doubling_days_interval"):
        values[key] = tuple(values[key]) if values[key] is not None else None
    return Growth(**values)


@dataclass(frozen=True)
class ResolvedNodule:
    """A finding of the earlier study whose place shows none now; center_lps_mm: that place in the present study."""

    tracking_uid: str
    center_lps_mm: tuple[float, float, float]
    mean_diameter_mm: float
    volume_mm3: float
    lobe: str | None = None


@dataclass(frozen=True)
class PriorRead:
    """The earlier study that findings were compared with. days: before the present one, None where a date is missing.

    correlation: of the aligned lungs, 1 is best.
    """

    study_date: str
    days: int | None
    correlation: float
    resolved: tuple[ResolvedNodule, ...] = ()

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> PriorRead:
        """The inverse of `asdict`."""
        resolved = tuple(
            ResolvedNodule(**(one | {"center_lps_mm": tuple(one["center_lps_mm"])}))
            for one in record["resolved"]
        )
        return cls(**(record | {"resolved": resolved}))
