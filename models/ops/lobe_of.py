"""Which of several structures, such as the lobes of the lungs, a point lies in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from study.answer import Structure

REACH_MM = 10.0
"""A nodule at the chest wall may have its centre outside the segmented lung; farther away it is in no lobe."""


def lobe_of(
    structures: Sequence[Structure],
    index: tuple[float, float, float],
    spacing_mm: tuple[float, float, float],
) -> str | None:
    """Label of the structure nearest to a point, None when all are farther than `REACH_MM`.

    index: (slice, row, column) in the volume, fractions allowed. spacing_mm: of the volume.
    """
    found: tuple[float, str] | None = None
    spacing = np.asarray(spacing_mm)
    for structure in structures:
        mask, origin = structure.segment.mask, np.asarray(structure.segment.origin)
        here = np.asarray(index) - origin
        reach = REACH_MM / spacing
        low = np.maximum(np.floor(here - reach), 0).astype(int)
        high = np.minimum(np.ceil(here + reach) + 1, mask.shape).astype(int)
        if (high <= low).any():
            continue
        near = np.argwhere(mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))])
        if not len(near):
            continue
        distance = float(np.sqrt((((near + low - here) * spacing) ** 2).sum(axis=1).min()))
        if distance <= REACH_MM and (found is None or distance < found[0]):
            found = distance, structure.label
    return found[1] if found else None
