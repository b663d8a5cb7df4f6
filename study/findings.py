"""Finding: what a model says about one place in a volume."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.errors import InvalidFinding
from study.nodule import Comparison, NoduleFeatures

Point = tuple[float, float, float]


@dataclass(frozen=True)
class Segment:
    """The voxels of one finding.

    mask: bool (slice, row, column), a box cut out of the volume; `origin` is the (slice, row,
    column) index of its first voxel in the volume.
    """

    mask: NDArray[np.bool_]
    origin: tuple[int, int, int]

    def __post_init__(self) -> None:
        if self.mask.ndim != 3 or self.mask.dtype != np.bool_ or not self.mask.any():
            raise InvalidFinding("a segment needs a bool (slice, row, column) mask that is not empty")


@dataclass(frozen=True)
class Finding:
    """One finding with its measurements. Points are patient LPS in mm, (x, y, z).

    id: number within the result, from 1, highest score first.
    score: the model's confidence in [0, 1] at the operating point's scale.
    bbox_lps_mm: (x_min, y_min, z_min, x_max, y_max, z_max).
    long_axis_mm, short_axis_mm: greatest diameter on the measured axial slice and the greatest one
        perpendicular to it; mean_diameter_mm is their mean (Fleischner 2017).
    long_axis_lps_mm, short_axis_lps_mm: the two end points of each axis, on the measured slice.
    nodule, comparison: what else is known of a lung nodule, and of it in an earlier study.
    slice_index: index of the measured slice in the volume; slice_sop_instance_uid and
        slice_frame_number name it in the source series.
    """

    id: int
    label: str
    score: float
    center_lps_mm: Point
    bbox_lps_mm: tuple[float, float, float, float, float, float]
    long_axis_mm: float
    short_axis_mm: float
    mean_diameter_mm: float
    long_axis_lps_mm: tuple[Point, Point]
    short_axis_lps_mm: tuple[Point, Point]
    volume_mm3: float
    mean_hu: float
    slice_index: int
    slice_sop_instance_uid: str
    slice_frame_number: int
    tracking_uid: str
    segment: Segment | None = None
    nodule: NoduleFeatures | None = None
    comparison: Comparison | None = None

    def __post_init__(self) -> None:
        numbers = [*self.center_lps_mm, *self.bbox_lps_mm, self.long_axis_mm, self.short_axis_mm]
        numbers += [self.mean_diameter_mm, self.volume_mm3, self.mean_hu, self.score]
        if not all(math.isfinite(number) for number in numbers):
            raise InvalidFinding(f"finding {self.id} has a number that is not finite")
        if not 0.0 <= self.score <= 1.0:
            raise InvalidFinding(f"finding {self.id}: score {self.score} is outside [0, 1]")
        if self.short_axis_mm < 0 or self.long_axis_mm < self.short_axis_mm - 1e-6:
            raise InvalidFinding(f"finding {self.id}: the short axis exceeds the long axis")

    @property
    def fleischner_mm(self) -> int:
        """The mean diameter to the nearest whole millimetre, half a millimetre upwards (Fleischner 2017)."""
        return math.floor(self.mean_diameter_mm + 0.5)

    def as_json(self) -> dict[str, Any]:
        """The finding as plain values, without its segment."""
        record = asdict(self)
        del record["segment"]
        return record

    @classmethod
    def from_json(cls, record: dict[str, Any], segment: Segment | None = None) -> Finding:
        """The inverse of `as_json`; unknown keys raise TypeError."""
        values = {key: _tuples(value) for key, value in record.items()}
        for key, part in _PARTS.items():
            if values.get(key) is not None:
                values[key] = part(**{name: _tuples(value) for name, value in values[key].items()})
        return cls(**values, segment=segment)


_PARTS: dict[str, type[NoduleFeatures] | type[Comparison]] = {
    "nodule": NoduleFeatures,
    "comparison": Comparison,
}


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value
