"""Radiograph: one projection image (CR, DX)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from study.errors import InvalidRadiograph

BITS_MAX = 16


@dataclass(frozen=True)
class Radiograph:
    """One projection image with the brightness that a reader sees: dense tissue is bright.

    pixels: uint16 (row, column), as MONOCHROME2 shows them, in the depth that was stored: [0, 2**bits - 1].
    spacing_mm: (row, column) in the detector's plane; None where the header has none.
    window: (low, high) of pixels between which the sender wants them shown; None where it does not say.
    view_position: PA, AP, LL …, upper case; "" where the header does not say.
    notes: what decoding had to repair or noticed, one sentence each, shown in the report.
    """

    pixels: NDArray[np.uint16]
    bits: int
    spacing_mm: tuple[float, float] | None
    sop_instance_uid: str
    series_instance_uid: str
    view_position: str = ""
    window: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.pixels.ndim != 2 or self.pixels.dtype != np.uint16 or not self.pixels.size:
            raise InvalidRadiograph("pixels must be uint16 (row, column) and not empty")
        if not 1 <= self.bits <= BITS_MAX:
            raise InvalidRadiograph(f"{self.bits} bits are not 1 to {BITS_MAX}")
        if self.spacing_mm is not None and not all(0 < step < np.inf for step in self.spacing_mm):
            raise InvalidRadiograph("the spacing of pixels must be positive")
        if self.window is not None and not -np.inf < self.window[0] < self.window[1] < np.inf:
            raise InvalidRadiograph("the window is empty")
