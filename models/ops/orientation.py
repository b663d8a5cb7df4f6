"""How the axes of a volume lie in the patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True)
class Orientation:
    """How the volume's axes lie in the patient.

    order: for each of (up, to the back, to the left) the axis of the volume; flip:
    whether it runs the other way.
    """

    order: tuple[int, int, int]
    flip: tuple[bool, bool, bool]

    def apply(self, voxels: NDArray[Scalar]) -> NDArray[Scalar]:
        """The same voxels as (up, back, left), without a copy."""
        turned = voxels.transpose(self.order)
        return turned[tuple(slice(None, None, -1 if flip else 1) for flip in self.flip)]

    def undo(self, voxels: NDArray[Scalar]) -> NDArray[Scalar]:
        """The inverse of `apply`."""
        flipped = voxels[tuple(slice(None, None, -1 if flip else 1) for flip in self.flip)]
        return flipped.transpose(np.argsort(self.order))


def orientation_of(affine_mm: NDArray[np.float64]) -> Orientation:
    """From the affine, so that prone, feet first and decubitus patients can be seen alike."""
    directions = affine_mm[:3, :3] / np.linalg.norm(affine_mm[:3, :3], axis=0)
    order, flip = [], []
    for patient_axis in (2, 1, 0):
        free = [axis for axis in range(3) if axis not in order]
        axis = max(free, key=lambda one: abs(directions[patient_axis, one]))
        order.append(axis)
        flip.append(bool(directions[patient_axis, axis] < 0))
    return Orientation((order[0], order[1], order[2]), (flip[0], flip[1], flip[2]))
