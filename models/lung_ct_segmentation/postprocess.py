"""From the graph's coarse labels to five lobes on the scanner's own grid."""

from __future__ import annotations

import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.errors import LungsNotFound
from models.lung_ct_segmentation.clean_labels import clean_labels, widen
from models.lung_ct_segmentation.lobes import LOBES, NAMES
from models.lung_ct_segmentation.preprocess import LungBox
from models.ops.lung_mask import TISSUE_HU, LungMask
from models.ops.lungs_cut import lungs_cut
from models.ops.resample import Weights, linear_weights
from models.ops.resample_mean import THREADS_MAX
from study.answer import Answer, Structure
from study.findings import Segment
from study.sentences import say
from study.volume import Volume

# At the lungs' surface a voxel is lung when it is darker than half-way between lung and soft tissue.
SURFACE_BELOW_HU = -400
LOW_ATTENUATION_HU = -950
STRUCTURE_MIN_ML = 5.0
_OUTSIDE, _SURFACE, _INSIDE = 0, 1, 2
# label for left * 4 + lower * 2 + middle.
_LOBE_OF_BITS = np.array([1, 2, 3, 3, 4, 4, 5, 5], np.uint8)
_TRACKING = uuid.UUID("5d1c5f0e-0a56-4f0b-9f0e-0c7b1b3f6a41")


@dataclass(frozen=True)
class FineLabels:
    """labels: uint8 on the volume's grid as the graph's orientation shows it, a box that begins at `start`.

    boxes: the part of it that holds all of one label, not cut close.
    count, hu_sum, low: for each label the voxels, the sum of their HU, and those below `LOW_ATTENUATION_HU`.
    """

    labels: NDArray[np.uint8]
    start: tuple[int, int, int]
    boxes: dict[int, tuple[slice, ...]]
    count: NDArray[np.int64]
    hu_sum: NDArray[np.float64]
    low: NDArray[np.int64]


def postprocess(coarse: NDArray[np.uint8], box: LungBox, volume: Volume) -> Answer:
    """The lobes that are there, right before left and upper before lower, and what is wrong with the lungs.

    Raises `LungsNotFound` where the graph sees none.
    """
    voxels = box.orientation.apply(volume.voxels)
    aired, tissue = (_on_graph_grid(mask, box) for mask in (box.lungs.mask, _tissue(voxels, box.lungs)))
    fine = refine(clean_labels(coarse, aired, tissue), box, voxels)
    voxel_ml = float(np.prod(volume.spacing_mm)) / 1000
    structures = []
    for label, name in NAMES.items():
        segment = _segment(fine, label, box, volume)
        volume_ml = float(fine.count[label]) * voxel_ml
        if segment is None or volume_ml < STRUCTURE_MIN_ML:
            continue
        structures.append(
            Structure(
                label=name,
                code=LOBES[label],
                segment=segment,
                volume_ml=volume_ml,
                mean_hu=float(fine.hu_sum[label] / fine.count[label]),
                tracking_uid=f"2.25.{uuid.uuid5(_TRACKING, f'{volume.series_instance_uid}:{name}').int}",
                low_attenuation_share=float(fine.low[label] / fine.count[label]),
            )
        )
    if not structures:
        raise LungsNotFound
    return Answer(structures=tuple(structures), notes=_notes(box, volume, structures))


def _tissue(voxels: NDArray[np.int16], lungs: LungMask) -> NDArray[np.bool_]:
    """What of the lungs' mask has the density of lung, on its grid, without the thin rims of airways."""
    values = voxels[tuple(slice(None, None, step) for step in lungs.stride)]
    tissue = lungs.mask & (values > TISSUE_HU[0]) & (values < TISSUE_HU[1])
    return np.asarray(ndimage.binary_opening(tissue), np.bool_)


def _on_graph_grid(mask: NDArray[np.bool_], box: LungBox) -> NDArray[np.bool_]:
    """A mask on the grid of the lungs' mask at the voxels of the graph."""
    places = [
        np.rint((start + step * np.arange(count)) / stride).clip(0, length - 1).astype(int)
        for start, step, count, stride, length in zip(
            box.start_index, box.step, box.shape, box.lungs.stride, mask.shape, strict=True
        )
    ]
    return np.asarray(mask[np.ix_(*places)], np.bool_)


def refine(coarse: NDArray[np.uint8], box: LungBox, voxels: NDArray[np.int16]) -> FineLabels:
    """Coarse labels onto the grid of `voxels` (oriented as the graph's), several slices at a time.

    Borders between lobes are interpolated; the lungs' surface follows the voxels themselves, within one
    coarse voxel of what the graph says.
    """
    wide = widen(coarse)
    zone = np.where(wide == 0, _OUTSIDE, np.where(_deep(coarse), _INSIDE, _SURFACE)).astype(np.uint8)
    # One voxel more, since an interpolated sample at the surface has neighbours outside.
    around = widen(wide)
    left = wide >= 4
    fields = (np.isin(around, (3, 5)).astype(np.float32), (around == 2).astype(np.float32))
    spans = [_span(box, wide > 0, axis, voxels.shape[axis]) for axis in range(3)]
    slices, rows, columns = (_weights(box, axis, spans[axis]) for axis in range(3))
    nearest = [
        np.clip(np.rint((np.arange(*spans[axis]) - box.start_index[axis]) / box.step[axis]).astype(int), 0,
                box.shape[axis] - 1)
        for axis in range(3)
    ]  # fmt: skip
    in_plane = np.ix_(nearest[1], nearest[2])
    shape = tuple(stop - start for start, stop in spans)
    labels = np.empty(shape, np.uint8)
    tallies = np.zeros((shape[0], 3, len(LOBES) + 1))
    crop = voxels[tuple(slice(*span) for span in spans)]

    def fill(number: int) -> None:
        below, above, share = (weights[number] for weights in slices)
        place = zone[nearest[0][number]][in_plane]
        hu = crop[number]
        lung = place == _INSIDE
        lung |= (place == _SURFACE) & (hu < SURFACE_BELOW_HU)
        bits = left[nearest[0][number]][in_plane].astype(np.uint8) * 4
        shares = [_enlarge(one[below] + (one[above] - one[below]) * share, rows, columns) for one in fields]
        bits |= (shares[0] >= 0.5).astype(np.uint8) * np.uint8(2)
        # Of what is not lower lobe the larger part decides, so that no third lobe shows where two meet.
        bits |= (shares[1] >= 0.5 * (1 - shares[0])).astype(np.uint8)
        labels[number] = _LOBE_OF_BITS[bits] * lung
        tallies[number] = _tally(labels[number], hu)

    with ThreadPoolExecutor(min(THREADS_MAX, len(os.sched_getaffinity(0)))) as pool:
        list(pool.map(fill, range(shape[0])))
    count, hu_sum, dark = tallies.sum(axis=0)
    start = (spans[0][0], spans[1][0], spans[2][0])
    boxes = {}
    for label in NAMES:
        own = [_span(box, wide == label, axis, voxels.shape[axis]) for axis in range(3)]
        boxes[label] = tuple(
            slice(max(low - first, 0), high - first) for (low, high), first in zip(own, start, strict=True)
        )
    return FineLabels(labels, start, boxes, count.astype(np.int64), hu_sum, dark.astype(np.int64))


def _tally(labels: NDArray[np.uint8], hu: NDArray[np.int16]) -> NDArray[np.float64]:
    place = np.flatnonzero(labels)
    found, values = labels.ravel()[place], hu.ravel()[place]
    size = len(LOBES) + 1
    return np.stack(
        [
            np.bincount(found, minlength=size).astype(np.float64),
            np.bincount(found, values, size),
            np.bincount(found[values < LOW_ATTENUATION_HU], minlength=size).astype(np.float64),
        ]
    )


def _deep(coarse: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Lung with lung on all sides."""
    lung = np.pad(coarse > 0, 1)
    deep = lung[1:-1, 1:-1, 1:-1].copy()
    for axis in range(3):
        for start in (0, 2):
            window = [slice(1, -1)] * 3
            window[axis] = slice(start, start + coarse.shape[axis])
            deep &= lung[tuple(window)]
    return deep


def _span(box: LungBox, there: NDArray[np.bool_], axis: int, length: int) -> tuple[int, int]:
    """(start, stop) along one axis of the voxels that coarse ones reach; at least one voxel."""
    used = np.flatnonzero(there.any(axis=tuple(other for other in range(3) if other != axis)))
    if not len(used):
        return 0, 1
    # Interpolation moves a border by less than one coarse voxel.
    edges = (used[0] - 1.5, used[-1] + 1.5)
    low, high = (box.start_index[axis] + edge * box.step[axis] for edge in edges)
    start = int(np.clip(np.ceil(low), 0, length - 1))
    return start, int(np.clip(np.floor(high) + 1, start + 1, length))


def _weights(box: LungBox, axis: int, span: tuple[int, int]) -> Weights:
    """Between which coarse samples each voxel of a span lies."""
    start = (span[0] - box.start_index[axis]) / box.step[axis]
    return linear_weights(start, 1 / box.step[axis], span[1] - span[0], box.shape[axis])


def _enlarge(plane: NDArray[np.float32], rows: Weights, columns: Weights) -> NDArray[np.float32]:
    """Bilinear interpolation of a coarse plane."""
    before = plane.take(columns[0], 1)
    wide = before + (plane.take(columns[1], 1) - before) * columns[2]
    above = wide.take(rows[0], 0)
    return np.asarray(above + (wide.take(rows[1], 0) - above) * rows[2][:, None], np.float32)


def _segment(fine: FineLabels, label: int, box: LungBox, volume: Volume) -> Segment | None:
    """The voxels of one lobe in the volume's own order of axes."""
    if not fine.count[label]:
        return None
    part = fine.boxes[label]
    order, flip = box.orientation.order, box.orientation.flip
    origin = [0, 0, 0]
    for axis in range(3):
        first = fine.start[axis] + part[axis].start
        size = part[axis].stop - part[axis].start
        length = volume.voxels.shape[order[axis]]
        origin[order[axis]] = length - first - size if flip[axis] else first
    own = np.ascontiguousarray(box.orientation.undo(fine.labels[part] == label))
    return Segment(own, (origin[0], origin[1], origin[2]))


def _notes(box: LungBox, volume: Volume, structures: list[Structure]) -> tuple[str, ...]:
    orientation, lungs = box.orientation, box.lungs
    stride = [lungs.stride[orientation.order.index(axis)] for axis in range(3)]
    own = LungMask(orientation.undo(lungs.mask), (stride[0], stride[1], stride[2]), lungs.volume_ml)
    missing = [name for name in NAMES.values() if name not in {one.label for one in structures}]
    not_found = (say("STRUCTURES_NOT_FOUND", names=", ".join(missing)),) if missing else ()
    return lungs_cut(own, volume) + not_found
