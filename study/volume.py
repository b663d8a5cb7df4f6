"""Volume: Hounsfield units on a regular grid in patient space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from study.errors import InvalidVolume


@dataclass(frozen=True)
class Volume:
    """A CT series as one regular grid.

    voxels: int16 (slice, row, column), Hounsfield units. Slices are ordered along the normal of the
        image plane (row direction x column direction), so index 0 is the lowest along that normal
        (the most inferior slice of a supine axial series).
    affine_mm: float64 (4, 4); maps (slice, row, column, 1) of voxel centres to patient LPS in mm
        (PS3.3 C.7.6.2.1.1).
    slice_sop_instance_uids: one SOP Instance UID for each slice; for an enhanced multi-frame source
        the same UID is repeated and `slice_frame_numbers` tells the frames apart.
    slice_frame_numbers: one-based frame number in the source instance, 1 for single-frame sources.
    notes: what decoding had to repair or noticed, one sentence each, shown in the report.
    """

    voxels: NDArray[np.int16]
    affine_mm: NDArray[np.float64]
    slice_sop_instance_uids: tuple[str, ...]
    slice_frame_numbers: tuple[int, ...]
    series_instance_uid: str
    frame_of_reference_uid: str
    slice_thickness_mm: float | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.voxels.ndim != 3 or self.voxels.dtype != np.int16:
            raise InvalidVolume("voxels must be int16 (slice, row, column)")
        if self.affine_mm.shape != (4, 4) or not np.isfinite(self.affine_mm).all():
            raise InvalidVolume("affine_mm must be a finite 4 x 4 matrix")
        if abs(float(np.linalg.det(self.affine_mm[:3, :3]))) < 1e-9:
            raise InvalidVolume("affine_mm cannot be inverted")
        slice_count = self.voxels.shape[0]
        if not len(self.slice_sop_instance_uids) == len(self.slice_frame_numbers) == slice_count:
            raise InvalidVolume("one SOP Instance UID and one frame number are needed for each slice")

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along (slice, row, column), in mm."""
        lengths = np.linalg.norm(self.affine_mm[:3, :3], axis=0)
        return float(lengths[0]), float(lengths[1]), float(lengths[2])

    def to_lps_mm(self, index: NDArray[np.float64]) -> NDArray[np.float64]:
        """Patient LPS in mm of (..., 3) indices (slice, row, column); fractions of a voxel allowed."""
        points = np.asarray(index, dtype=np.float64) @ self.affine_mm[:3, :3].T
        return np.asarray(points + self.affine_mm[:3, 3])

    def to_index(self, point_lps_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Indices (slice, row, column), with fractions, of (..., 3) patient LPS points in mm."""
        inverse = np.linalg.inv(self.affine_mm[:3, :3])
        offset = np.asarray(point_lps_mm, dtype=np.float64) - self.affine_mm[:3, 3]
        return np.asarray(offset @ inverse.T)
