"""Where a point in patient space lies on a source image, and the outline of a finding there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_gateway.encode_errors import SliceGeometryUnknown


@dataclass(frozen=True)
class SliceGeometry:
    """Plane of one image or frame (PS3.3 C.7.6.2.1.1), lengths in mm, points in patient LPS.

    origin: centre of the first pixel. row, column: unit vectors along growing column and row index.
    spacing: (distance between rows, distance between columns).
    """

    origin: NDArray[np.float64]
    row: NDArray[np.float64]
    column: NDArray[np.float64]
    spacing: tuple[float, float]

    def to_image(self, points_lps_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """(column, row) image coordinates of (n, 3) points, projected along the normal.

        Image coordinates start at the outer corner of the first pixel, whose centre is (0.5, 0.5)
        (PS3.3 C.18.6.1.2).
        """
        offset = np.asarray(points_lps_mm, dtype=np.float64) - self.origin
        columns = offset @ self.row / self.spacing[1] + 0.5
        rows = offset @ self.column / self.spacing[0] + 0.5
        return np.stack([columns, rows], axis=-1)


def slice_geometry(header: Dataset, frame_number: int = 1) -> SliceGeometry:
    """The plane of a single-frame image, or of one frame (from 1) of an enhanced multi-frame image."""
    position = _values(header, "PlanePositionSequence", "ImagePositionPatient", frame_number, 3)
    orientation = _values(header, "PlaneOrientationSequence", "ImageOrientationPatient", frame_number, 6)
    spacing = _values(header, "PixelMeasuresSequence", "PixelSpacing", frame_number, 2)
    if min(spacing) <= 0:
        raise SliceGeometryUnknown("PixelSpacing")
    return SliceGeometry(position, orientation[:3], orientation[3:], (float(spacing[0]), float(spacing[1])))


def _values(header: Dataset, macro: str, keyword: str, frame_number: int, length: int) -> NDArray[np.float64]:
    holder = header
    if "PerFrameFunctionalGroupsSequence" in header:
        groups = [header.PerFrameFunctionalGroupsSequence[frame_number - 1]]
        groups += list(header.get("SharedFunctionalGroupsSequence") or [])
        holder = next((group[macro][0] for group in groups if macro in group), header)
    values = holder.get(keyword)
    if values is None or len(values) != length:
        raise SliceGeometryUnknown(keyword)
    return np.asarray([float(value) for value in values], dtype=np.float64)


def outline(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Closed outer outline of the largest part of a bool (row, column) mask.

    Returns (n, 2) points (row, column) on the edges of pixels, in index units where the centre of the
    first pixel is (0, 0); the last point repeats the first. Pixels that touch only at a corner belong
    to different parts.
    """
    part = _largest_part(mask)
    start = (int(np.argmax(part.any(axis=1))), 0)
    start = (start[0], int(np.argmax(part[start[0]])))
    corners = _trace(np.pad(part, 1), (start[0] + 1, start[1] + 1))
    return np.asarray(corners, dtype=np.float64) - 1.5


def _largest_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    sizes = ndimage.sum_labels(mask, labels, range(1, count + 1))
    return np.asarray(labels == int(np.argmax(sizes)) + 1)


def _trace(padded: NDArray[np.bool_], first: tuple[int, int]) -> list[tuple[int, int]]:
    """Walk along pixel edges with the inside on the right; keep the corners where the way turns.

    A corner (row, column) is the upper left one of the pixel with that index. The walk starts at the
    upper left corner of `first`, the leftmost pixel of the top row, heading right.
    """
    headings = ((0, 1), (1, 0), (0, -1), (-1, 0))
    corner, heading = first, 0
    corners = [corner]
    while True:
        corner = (corner[0] + headings[heading][0], corner[1] + headings[heading][1])
        turn = _turn(padded, corner, heading)
        if turn:
            heading = (heading + turn) % 4
            corners.append(corner)
        if corner == first:
            return corners if corners[-1] == first else [*corners, first]


def _turn(padded: NDArray[np.bool_], corner: tuple[int, int], heading: int) -> int:
    """-1 left, 0 straight, 1 right: from the two pixels ahead of a corner."""
    row, column = corner
    ahead = {
        0: ((row - 1, column), (row, column)),
        1: ((row, column), (row, column - 1)),
        2: ((row, column - 1), (row - 1, column - 1)),
        3: ((row - 1, column - 1), (row - 1, column)),
    }[heading]
    left, right = padded[ahead[0]], padded[ahead[1]]
    if not right:
        return 1
    return -1 if left else 0
