"""From the graph's candidates to findings."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from models.lung_nodule_ct.preprocess import LungBox
from models.model import Arrays
from models.ops.characterise import Detection, characterise
from models.ops.distance import nearest_mm
from models.ops.lung_mask import LungMask
from models.ops.suppress_neighbours import suppress_neighbours
from study.answer import Structure
from study.findings import Finding
from study.volume import Volume

FINDINGS_MAX = 20
# Of a mass, marks from `MASS_FROM_MM` on, this share of a sphere `AROUND_MM` beyond its surface must be lung: less has
# what lies at the heart, the great vessels, the diaphragm or the spine. MODEL_CARD.md says how it was chosen.
MASS_FROM_MM, AROUND_MM, LUNG_AROUND_MIN = 25.0, 6.0, 0.25
_SPHERE_POINTS = 256


def detections(outputs: Arrays, box: LungBox, volume: Volume, threshold: float) -> list[Detection]:
    """Candidates at or above the threshold that lie in the lungs, one for each place, best first."""
    scores = outputs["scores"].astype(np.float64)
    centers = outputs["centers"].astype(np.float64)
    diameters = outputs["diameters"].astype(np.float64)
    keep = scores >= threshold
    for row, slab in enumerate(box.slabs):
        centers[row, :, 0] += slab.first
        keep[row] &= (centers[row, :, 0] >= slab.keep[0] - 0.5) & (centers[row, :, 0] < slab.keep[1] - 0.5)
    index = (np.array(box.start_index) + centers[keep] * box.step)[:, np.argsort(box.order)]
    score, diameter = scores[keep], diameters[keep]
    inside = _in_lungs(index, diameter, box.lungs, volume)
    large = inside & (diameter >= MASS_FROM_MM)
    around = [
        lung_around(place, width, box.lungs, volume)
        for place, width in zip(index[large], diameter[large], strict=True)
    ]
    inside[large] = np.array(around) >= LUNG_AROUND_MIN
    index, score, diameter = index[inside], score[inside], diameter[inside]
    order = suppress_neighbours(index * volume.spacing_mm, diameter, score)
    return [
        Detection(
            (float(index[i, 0]), float(index[i, 1]), float(index[i, 2])), float(diameter[i]), float(score[i])
        )
        for i in order
    ]


def _in_lungs(
    index: NDArray[np.float64], diameter_mm: NDArray[np.float64], lungs: LungMask, volume: Volume
) -> NDArray[np.bool_]:
    """Whether each point lies in the volume and its nodule would touch the lungs.

    A large nodule at the chest wall may have its centre outside the mask, and one sample is forgiven.
    """
    if not len(index):
        return np.zeros(0, np.bool_)
    sample_mm = [step * size for step, size in zip(lungs.stride, volume.spacing_mm, strict=True)]
    cells = np.clip(np.rint(index / lungs.stride).astype(int), 0, np.array(lungs.mask.shape) - 1)
    near = nearest_mm(lungs.mask, cells, sample_mm) <= diameter_mm / 2 + max(sample_mm)
    within = ((index >= -0.5) & (index <= np.array(volume.voxels.shape) - 0.5)).all(axis=1)
    return np.asarray(within & near, np.bool_)


def lung_around(index: NDArray[np.float64], diameter_mm: float, lungs: LungMask, volume: Volume) -> float:
    """The share of a sphere `AROUND_MM` beyond a mark's surface that is lung; what lies outside the volume is not."""
    steps = np.array(lungs.stride) * volume.spacing_mm
    centre = index / lungs.stride
    cells = np.rint(centre + _sphere() * (diameter_mm / 2 + AROUND_MM) / steps).astype(int)
    within = ((cells >= 0) & (cells < lungs.mask.shape)).all(axis=1)
    return float(lungs.mask[tuple(cells[within].T)].sum() / len(cells))


@lru_cache(maxsize=1)
def _sphere() -> NDArray[np.float64]:
    """Points (N, 3) spread evenly over the unit sphere, along a spiral."""
    middle = np.arange(_SPHERE_POINTS) + 0.5
    polar, azimuth = np.arccos(1 - 2 * middle / _SPHERE_POINTS), np.pi * (1 + np.sqrt(5)) * middle
    return np.stack([np.cos(polar), np.sin(polar) * np.sin(azimuth), np.sin(polar) * np.cos(azimuth)], axis=1)


def postprocess(
    outputs: Arrays, box: LungBox, volume: Volume, threshold: float, lobes: Sequence[Structure] = ()
) -> tuple[Finding, ...]:
    """The findings shown to people: at most `FINDINGS_MAX`, highest score first. lobes: of the lobe model."""
    found = detections(outputs, box, volume, threshold)[:FINDINGS_MAX]

    def measured(number: int, detection: Detection) -> Finding:
        return characterise(volume, detection, number, lungs=box.lungs, lobes=lobes)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return tuple(pool.map(measured, itertools.count(1), found))
