"""In which lobe a nodule lies, by the lobes that another model has drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from study.answer import Structure
from study.findings import Segment

# A nodule at the pleura may lie outside the drawn lobe: so far around it is looked for.
AROUND_MM = 5.0


def find_lobe(
    segment: Segment, structures: Sequence[Structure], spacing_mm: tuple[float, float, float]
) -> str | None:
    """The label of the lobe that holds most of the nodule and its near surroundings; None where no lobe is near."""
    margin = np.ceil(AROUND_MM / np.array(spacing_mm)).astype(int)
    low = np.array(segment.origin) - margin
    high = np.array(segment.origin) + segment.mask.shape + margin
    votes = {one.label: _voxels_within(one.segment, low, high) for one in structures if "lobe" in one.label}
    best = max(votes, key=lambda label: votes[label], default=None)
    return best if best is not None and votes[best] > 0 else None


def _voxels_within(lobe: Segment, low: np.ndarray, high: np.ndarray) -> int:
    start = np.maximum(low - lobe.origin, 0)
    stop = np.maximum(high - lobe.origin, 0)
    part = lobe.mask[tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))]
    return int(part.sum())
