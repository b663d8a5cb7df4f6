"""A RetinaNet from a MONAI bundle, served over windows of the lungs' box."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import LungsNotFound
from models.manifest import Manifest
from models.model import Arrays, ModelInput, as_volume
from models.monai_retinanet.boxes import anchors, decode, suppress
from models.ops.characterise import Detection, characterise
from models.ops.lung_mask import find_lungs
from models.ops.resample import resample_box
from study.answer import Answer, Image
from study.volume import Volume

MARGIN_MM = 12.0
OVERLAP = 0.25
FINDINGS_MAX = 20
CANDIDATES_PER_WINDOW = 1000


@dataclass(frozen=True)
class Settings:
    """The `[settings]` of a generated manifest; all spatial triples are (right, front, top)."""

    window: tuple[int, int, int]
    level_shapes: tuple[tuple[int, ...], ...]
    scales: tuple[float, ...]
    base_shapes: tuple[tuple[float, ...], ...]
    overlap_max: float

    @classmethod
    def of(cls, values: dict[str, Any]) -> Settings:
        """From the values of a manifest."""
        x, y, z = (int(side) for side in values["window"])
        return cls(
            (x, y, z),
            tuple(tuple(int(n) for n in shape) for shape in values["level_shapes"]),
            tuple(float(scale) for scale in values["anchor_scales"]),
            tuple(tuple(float(n) for n in shape) for shape in values["anchor_shapes"]),
            float(values["nms_overlap_max"]),
        )


@dataclass(frozen=True)
class WindowedBox:
    """How the windows lie in the volume.

    axes: the volume axis behind each of (right, front, top); flipped: whether it runs the other way.
    """

    start_index: tuple[float, float, float]
    step: tuple[float, float, float]
    shape: tuple[int, int, int]
    axes: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    window_starts: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class MonaiRetinaNet:
    """Serves the graph that `models.monai_bundle` makes of a bundle."""

    manifest: Manifest

    def preprocess(self, image: Image) -> ModelInput:
        """Windows over the lungs' box, right-front-top; raises `LungsNotFound`."""
        volume = as_volume(image)
        settings = Settings.of(self.manifest.settings)
        spacing = volume.spacing_mm
        lungs = find_lungs(volume.voxels, spacing)
        if lungs is None:
            raise LungsNotFound
        margin = tuple(int(np.ceil(MARGIN_MM / size)) for size in spacing)
        limits = lungs.box((margin[0], margin[1], margin[2]), volume.voxels.shape)
        axes, flipped = orientation(volume)
        steps, shape = [0.0] * 3, [0] * 3
        # The manifest's spacing is (slice, row, column) of an axial image: top, front, right.
        for target, source in enumerate(axes):
            steps[source] = self.manifest.spacing_mm[2 - target] / spacing[source]
            low, high = limits[source]
            shape[source] = max(int(np.ceil((high - low) / steps[source])), settings.window[target])
        start = tuple(float(low) for low, _ in limits)
        box = resample_box(
            volume.voxels,
            (start[0], start[1], start[2]),
            (steps[0], steps[1], steps[2]),
            (shape[0], shape[1], shape[2]),
        )
        turned = np.flip(box.transpose(axes), tuple(axis for axis in range(3) if flipped[axis]))
        starts = _window_starts(turned.shape, settings.window)
        batches = tuple(
            {
                "hounsfield": np.ascontiguousarray(
                    turned[tuple(map(slice, at, np.add(at, settings.window)))]
                )[None]
            }
            for at in starts
        )
        context = WindowedBox(
            (start[0], start[1], start[2]), (steps[0], steps[1], steps[2]), (shape[0], shape[1], shape[2]),
            axes, flipped, starts,
        )  # fmt: skip
        return ModelInput(batches, context)

    def postprocess(
        self, outputs: Arrays, context: object, image: Image, support: Mapping[str, Answer]
    ) -> Answer:
        """Findings at or above the operating threshold."""
        volume = as_volume(image)
        assert isinstance(context, WindowedBox)
        settings = Settings.of(self.manifest.settings)
        boxes, scores = self._boxes(outputs, context, settings)
        kept = suppress(boxes, scores, settings.overlap_max, FINDINGS_MAX)
        findings = []
        for number, index in enumerate(kept, start=1):
            center, diameter = self._place(boxes[index], context)
            limit = np.array(volume.voxels.shape) - 1
            inside = np.clip(center, 0, limit)
            detection = Detection(
                (float(inside[0]), float(inside[1]), float(inside[2])), diameter, float(scores[index])
            )
            findings.append(characterise(volume, detection, number))
        return Answer(tuple(findings))

    def _boxes(
        self, outputs: Arrays, context: WindowedBox, settings: Settings
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Boxes above the threshold in voxels of the whole turned box, with their scores."""
        every = anchors(settings.window, settings.level_shapes, settings.scales, settings.base_shapes)
        found: list[NDArray[np.float32]] = [np.zeros((0, 6), np.float32)]
        scores: list[NDArray[np.float32]] = [np.zeros(0, np.float32)]
        for row, at in enumerate(context.window_starts):
            logits = outputs["logits"][row, :, 0].astype(np.float32)
            score = 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
            chosen = np.flatnonzero(score >= self.manifest.operating_threshold)
            chosen = chosen[np.argsort(-score[chosen], kind="stable")[:CANDIDATES_PER_WINDOW]]
            boxes = decode(outputs["codes"][row, chosen].astype(np.float32), every[chosen])
            boxes = np.clip(boxes, 0, np.array(settings.window * 2, np.float32))
            whole = (boxes[:, 3:] - boxes[:, :3] > 0.5).all(axis=1)
            found.append(np.asarray(boxes[whole] + np.array(at * 2), np.float32))
            scores.append(np.asarray(score[chosen][whole], np.float32))
        return np.concatenate(found), np.concatenate(scores)

    def _place(self, box: NDArray[np.float32], context: WindowedBox) -> tuple[NDArray[np.float64], float]:
        """Centre as an index of the volume, and the median side of the box in mm."""
        middle = (box[:3].astype(np.float64) + box[3:]) / 2
        sides = (box[3:] - box[:3]) * np.array(self.manifest.spacing_mm[::-1])
        index = np.zeros(3)
        for target, source in enumerate(context.axes):
            place = context.shape[source] - 1 - middle[target] if context.flipped[target] else middle[target]
            index[source] = context.start_index[source] + place * context.step[source]
        return index, float(np.median(sides))


def orientation(volume: Volume) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Which volume axis runs closest to right, front and top, and whether it runs the other way."""
    directions = volume.affine_mm[:3, :3] / np.linalg.norm(volume.affine_mm[:3, :3], axis=0)
    wanted = np.diag([-1.0, -1.0, 1.0]) @ directions
    best = max(
        itertools.permutations(range(3)), key=lambda p: sum(abs(wanted[t, s]) for t, s in enumerate(p))
    )
    right, front, top = best
    return (right, front, top), (
        bool(wanted[0, right] < 0),
        bool(wanted[1, front] < 0),
        bool(wanted[2, top] < 0),
    )


def _window_starts(shape: tuple[int, ...], window: tuple[int, int, int]) -> tuple[tuple[int, int, int], ...]:
    along = []
    for length, side in zip(shape, window, strict=True):
        count = max(1, int(np.ceil((length - side) / (side * (1 - OVERLAP)))) + 1)
        along.append(np.unique(np.round(np.linspace(0, length - side, count)).astype(int)))
    return tuple((int(x), int(y), int(z)) for x, y, z in itertools.product(*along))
