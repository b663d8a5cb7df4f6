"""What is said of a lung nodule beyond its size, and how it compares with an earlier study."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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


@dataclass(frozen=True)
class Comparison:
    """The same nodule in an earlier study. state: "matched", or "new" where the earlier study showed none there.

    days: between the studies. Sizes are those of then; doubling_days with its interval is None where there is no growth
    to speak of.
    """

    state: str
    study_date: str
    days: int | None = None
    mean_diameter_mm: float | None = None
    volume_mm3: float | None = None
    tracking_uid: str | None = None
    doubling_days: float | None = None
    doubling_days_interval: tuple[float, float] | None = None
