"""A segmentation bundle, served over windows of the whole volume.

Each voxel takes its label from the window in whose middle it lies deepest; MONAI averages the windows' probabilities
instead, which takes as much memory as there are labels. The two differ at most near the windows' edges.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.errors import VolumeTooLarge
from models.manifest import Manifest
from models.model import Arrays, ModelInput, as_volume
from models.monai_intensity import apply_steps
from models.monai_retinanet.model import orientation
from models.monai_segmentation.labels import code_of
from models.ops.resample import resample_box
from study.answer import Answer, Image, Structure
from study.findings import Segment
from study.sentences import say
from study.volume import Volume

OVERLAP = 0.25
GRID_VOXELS_MAX = 200_000_000
_TRACKING = uuid.UUID("0b8f7a52-6d1c-4b64-9c8e-3b2f4f0f7d15")
Span = tuple[int, int]


@dataclass(frozen=True)
class Grid:
    """How the resampled volume, turned to (right, front, top), lies in the source.

    axes: the source's axis behind each of its own; flipped: whether it runs the other way. shape: of the turned grid
    before it was padded to the window. starts: of the windows along each axis.
    """

    axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    step: tuple[float, float, float]
    shape: tuple[int, int, int]
    starts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class MonaiSegmentation:
    """Serves the graph that `models.monai_bundle` makes of a bundle."""

    manifest: Manifest

    def preprocess(self, image: Image) -> ModelInput:
        """Windows over the volume, right-front-top; raises `VolumeTooLarge`."""
        volume = as_volume(image)
        window = [int(side) for side in self.manifest.settings["window"]]
        axes, flipped = orientation(volume)
        step, shape = [0.0] * 3, [0] * 3
        # The manifest's spacing is (slice, row, column) of an axial image: top, front, right.
        for target, source in enumerate(axes):
            step[source] = self.manifest.spacing_mm[2 - target] / volume.spacing_mm[source]
            shape[source] = max(int(np.ceil(volume.voxels.shape[source] / step[source])), 1)
        if np.prod(shape, dtype=np.float64) > GRID_VOXELS_MAX:
            raise VolumeTooLarge(int(np.prod(shape, dtype=np.float64)), GRID_VOXELS_MAX)
        box = resample_box(
            volume.voxels, (0.0, 0.0, 0.0), (step[0], step[1], step[2]), (shape[0], shape[1], shape[2])
        )
        turned = np.flip(box.transpose(axes), tuple(axis for axis in range(3) if flipped[axis]))
        values = apply_steps(turned.astype(np.float32), self.manifest.settings["intensity"])
        missing = [(0, max(side - length, 0)) for side, length in zip(window, values.shape, strict=True)]
        padded = np.pad(values, missing, mode="edge")
        starts = tuple(_starts(length, side) for length, side in zip(padded.shape, window, strict=True))
        batches = tuple(
            # Views: only the one that runs is copied.
            {"image": padded[tuple(map(slice, at, np.add(at, window)))][None, None]}
            for at in itertools.product(*starts)
        )
        x, y, z = turned.shape
        return ModelInput(batches, Grid(axes, flipped, (step[0], step[1], step[2]), (x, y, z), starts))

    def postprocess(
        self, outputs: Arrays, context: object, image: Image, support: Mapping[str, Answer]
    ) -> Answer:
        """One structure for each label that is there, in the order of the labels."""
        assert isinstance(context, Grid)
        volume = as_volume(image)
        labels = _on_the_source(_stitch(outputs["labels"], context), context, volume)
        boxes = ndimage.find_objects(labels)
        structures, missing = [], []
        for one in self.manifest.settings["labels"]:
            number, name = int(one["number"]), str(one["name"])
            box = boxes[number - 1] if number <= len(boxes) else None
            if box is None:
                missing.append(name)
                continue
            structures.append(_structure(volume, labels[box] == number, box, number, name))
        notes = (say("STRUCTURES_NOT_FOUND", names=", ".join(missing)[:400]),) if missing else ()
        return Answer(structures=tuple(structures), notes=notes)


def _structure(
    volume: Volume, mask: NDArray[np.bool_], box: tuple[slice, ...], number: int, name: str
) -> Structure:
    origin = (box[0].start, box[1].start, box[2].start)
    identity = uuid.uuid5(_TRACKING, f"{volume.series_instance_uid}:{name}")
    return Structure(
        label=name,
        code=code_of(name, number),
        segment=Segment(mask, origin),
        volume_ml=float(np.count_nonzero(mask)) * float(np.prod(volume.spacing_mm)) / 1000,
        mean_hu=float(volume.voxels[box][mask].mean()),
        tracking_uid=f"2.25.{identity.int}",
    )


def _starts(length: int, side: int) -> tuple[int, ...]:
    """Where windows begin along one axis: the first at 0, the last at the end, overlapping by `OVERLAP` at least."""
    count = int(np.ceil((length - side) / (side * (1 - OVERLAP)))) + 1
    return tuple(int(start) for start in np.unique(np.round(np.linspace(0, length - side, count))))


def _parts(starts: tuple[int, ...], side: int) -> list[Span]:
    """(from, to) of what each window decides: up to the middle of its overlap with the next."""
    edges = [(start + side + after) // 2 for start, after in itertools.pairwise(starts)]
    return list(zip([0, *edges], [*edges, starts[-1] + side], strict=True))


def _stitch(windows: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
    """The label map of the turned grid from those of the windows, in the order in which they were made."""
    sides = windows.shape[1:]
    parts = [_parts(starts, side) for starts, side in zip(grid.starts, sides, strict=True)]
    whole = np.zeros([part[-1][1] for part in parts], np.uint8)
    places = itertools.product(*(zip(*pair, strict=True) for pair in zip(grid.starts, parts, strict=True)))
    for labels, place in zip(windows, places, strict=True):
        inner = tuple(slice(low - start, high - start) for start, (low, high) in place)
        whole[tuple(slice(*part) for _, part in place)] = labels[inner]
    return whole[tuple(map(slice, grid.shape))]


def _on_the_source(labels: NDArray[np.uint8], grid: Grid, volume: Volume) -> NDArray[np.uint8]:
    """The label of the nearest voxel of the grid for each voxel of the source."""
    turned = np.flip(labels, tuple(axis for axis in range(3) if grid.flipped[axis]))
    back = turned.transpose(np.argsort(grid.axes))
    nearest = [
        np.minimum(np.rint(np.arange(length) / step).astype(np.intp), side - 1)
        for length, step, side in zip(volume.voxels.shape, grid.step, back.shape, strict=True)
    ]
    return np.asarray(back[np.ix_(*nearest)], np.uint8)
