"""From the graph's candidates to findings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.lung_nodule_ct.preprocess import LungBox
from models.model import Arrays
from models.ops.characterise import Detection, characterise
from models.ops.lung_mask import LungMask
from models.ops.suppress_neighbours import suppress_neighbours
from study.findings import Finding
from study.volume import Volume

FINDINGS_MAX = 20


def detections(outputs: Arrays, box: LungBox, volume: Volume, threshold: float) -> list[Detection]:
    """Candidates at or above the threshold that lie in the lungs, one for each place, best first."""
    scores = outputs["scores"].astype(np.float64)
    centers = outputs["centers"].astype(np.float64)
    diameters = outputs["diameters"].astype(np.float64)
    keep = scores >= threshold
    for row, slab in enumerate(box.slabs):
        centers[row, :, 0] += slab.first
        keep[row] &= (centers[row, :, 0] >= slab.keep[0] - 0.5) & (centers[row, :, 0] < slab.keep[1] - 0.5)
    index = np.array(box.start_index) + centers[keep] * box.step
    score, diameter = scores[keep], diameters[keep]
    inside = _in_lungs(index, box.lungs, volume.voxels.shape)
    index, score, diameter = index[inside], score[inside], diameter[inside]
    order = suppress_neighbours(index * volume.spacing_mm, diameter, score)
    return [
        Detection(
            (float(index[i, 0]), float(index[i, 1]), float(index[i, 2])), float(diameter[i]), float(score[i])
        )
        for i in order
    ]


def _in_lungs(index: NDArray[np.float64], lungs: LungMask, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Whether each point lies in the volume and in the closed lung mask, one sample of it forgiven."""
    within = ((index >= -0.5) & (index <= np.array(shape) - 0.5)).all(axis=1)
    cells = np.rint(index / lungs.stride).astype(int)
    near = np.zeros(len(index), bool)
    for shift in np.ndindex(3, 3, 3):
        moved = np.clip(cells + np.array(shift) - 1, 0, np.array(lungs.mask.shape) - 1)
        near |= lungs.mask[tuple(moved.T)]
    return np.asarray(within & near, np.bool_)


def postprocess(outputs: Arrays, box: LungBox, volume: Volume, threshold: float) -> tuple[Finding, ...]:
    """The findings shown to people: at most `FINDINGS_MAX`, highest score first."""
    found = detections(outputs, box, volume, threshold)[:FINDINGS_MAX]
    return tuple(characterise(volume, detection, number) for number, detection in enumerate(found, start=1))
