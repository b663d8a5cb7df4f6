"""Training patches and their targets, drawn at random from phantoms held in memory. numpy only."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.lung_nodule_ct import dataset
from models.lung_nodule_ct.pasted_masses import paste_mass
from models.ops.lung_mask import find_lungs
from models.ops.resample import linear_weights, resample_box

WINDOW_HU = (-1000.0, 600.0)
BRIGHT_ABOVE_HU = -450
MARGIN_MM = 16
# Shares of patches centred near a nodule, near a place that the network took for one, near
# bright voxels in the lung (vessels, fissures, walls); the rest anywhere in the lung.
NEAR_NODULE, NEAR_MISTAKE, NEAR_BRIGHT = 0.5, 0.2, 0.2
MISTAKES_KEPT = 3000
# What the network for masses has to find; anything smaller is background to it.
MASS_MIN_MM = 20.0
# Share of its patches into which one more is put.
PASTED = 0.5


@dataclass(frozen=True)
class Scene:
    """A phantom at 1 mm, cut to the lungs' box, and the places to draw patches from.

    Everything is in voxels; of a scene that `coarse_scene` made they are wider than 1 mm.
    """

    voxels: NDArray[np.int16]
    centers: NDArray[np.float64]
    diameters: NDArray[np.float64]
    lung_places: NDArray[np.int64]
    bright_places: NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """image (n, p, p, p) in [0, 1]; heat and weight (n, q, q, q); regression (n, 4, q, q, q), q = p/2.

    source and origin tell where each patch came from; the patch was flipped and turned afterwards,
    `axes` and `flips` say how, so that a mistake can be found again.
    """

    image: NDArray[np.float32]
    heat: NDArray[np.float32]
    regression: NDArray[np.float32]
    weight: NDArray[np.float32]
    source: tuple[int, ...]
    origin: NDArray[np.int64]
    axes: tuple[tuple[int, ...], ...]
    flips: tuple[tuple[bool, ...], ...]


def load_scene(path: Path, rng: np.random.Generator) -> Scene:
    """Read one phantom and bring it to the grid on which the network works."""
    phantom = dataset.read(path)
    lungs = find_lungs(phantom.voxels, phantom.spacing_mm)
    if lungs is None:
        raise ValueError(f"no lungs in {path}")
    spacing = np.array(phantom.spacing_mm)
    margin = np.ceil(MARGIN_MM / spacing).astype(int)
    box = lungs.box((int(margin[0]), int(margin[1]), int(margin[2])), phantom.voxels.shape)
    start = np.array([low for low, _ in box])
    size = np.ceil(np.array([high - low for low, high in box]) * spacing).astype(int)
    step = 1 / spacing
    voxels = resample_box(
        phantom.voxels, tuple(start.astype(float)), tuple(step), (int(size[0]), int(size[1]), int(size[2]))
    )
    sizes = zip(size, spacing, start, lungs.stride, lungs.mask.shape, strict=True)
    cells = [np.minimum((np.arange(0, n, 2) / s + o).astype(int) // k, m - 1) for n, s, o, k, m in sizes]
    inside = lungs.mask[np.ix_(*cells)]
    bright = np.argwhere(inside & (voxels[::2, ::2, ::2] > BRIGHT_ABOVE_HU)) * 2
    anywhere = np.argwhere(inside) * 2
    centers = np.array([nodule.center_index for nodule in phantom.truth]).reshape(-1, 3)
    return Scene(
        voxels,
        (centers - start) * spacing,
        np.array([nodule.diameter_mm for nodule in phantom.truth]),
        anywhere[rng.permutation(len(anywhere))[:5000]],
        bright[rng.permutation(len(bright))[:20000]],
    )


def coarse_scene(scene: Scene, factor: int, slice_mm: int = 1) -> Scene:
    """The scene on the means of factor³ voxels, with the lesions that are masses there.

    Densities are clipped to the window before, as in the graph. slice_mm: a scan with slices so thick comes before.
    """
    low_hu, high_hu = WINDOW_HU
    voxels = np.clip(scene.voxels.astype(np.float32), low_hu, high_hu)
    if slice_mm > 1:
        count = voxels.shape[0] // slice_mm
        slices = voxels[: count * slice_mm].reshape(count, slice_mm, *voxels.shape[1:]).mean(axis=1)
        low, high, share = linear_weights((1 / slice_mm - 1) / 2, 1 / slice_mm, voxels.shape[0], count)
        voxels = slices[low] + (slices[high] - slices[low]) * share[:, None, None]
    sides = [length // factor for length in voxels.shape]
    whole = voxels[tuple(slice(0, side * factor) for side in sides)]
    grouped = whole.reshape(sides[0], factor, sides[1], factor, sides[2], factor)
    large = scene.diameters >= MASS_MIN_MM
    return Scene(
        np.rint(grouped.mean(axis=(1, 3, 5))).astype(np.int16),
        (scene.centers[large] - (factor - 1) / 2) / factor,
        scene.diameters[large] / factor,
        scene.lung_places // factor,
        scene.bright_places // factor,
    )


@dataclass
class PatchSampler:
    """Draws batches. `report_mistakes` feeds places of false alarms back into the draw.

    masses_of_mm: width of a voxel where masses are sought, 0 where nodules are. Then further masses are put into the
    patches, and patches are mirrored and lie on their back or front, but are never turned: what is normal depends on
    where it is.
    """

    scenes: list[Scene]
    patch: int
    rng: np.random.Generator
    masses_of_mm: float = 0.0
    mistakes: deque[tuple[int, NDArray[np.float64]]] = field(
        default_factory=lambda: deque(maxlen=MISTAKES_KEPT)
    )

    def batch(self, size: int) -> Batch:
        """`size` patches with their targets."""
        drawn = [self._draw() for _ in range(size)]
        columns = list(zip(*drawn, strict=True))
        return Batch(
            np.stack(columns[0]), np.stack(columns[1]), np.stack(columns[2]), np.stack(columns[3]),
            columns[4], np.stack(columns[5]), columns[6], columns[7],
        )  # fmt: skip

    def report_mistakes(self, batch: Batch, item: int, output_index: NDArray[np.int64]) -> None:
        """Remember the place of a false alarm at an output voxel of patch `item`."""
        point = output_index.astype(np.float64) * 2 + 0.5
        place = np.empty(3)
        for axis, (source_axis, flipped) in enumerate(zip(batch.axes[item], batch.flips[item], strict=True)):
            place[source_axis] = self.patch - 1 - point[axis] if flipped else point[axis]
        self.mistakes.append((batch.source[item], place + batch.origin[item]))

    def _place(self) -> tuple[int, NDArray[np.float64]]:
        chance = self.rng.random()
        if NEAR_NODULE <= chance < NEAR_NODULE + NEAR_MISTAKE and len(self.mistakes) > 50:
            source, place = self.mistakes[self.rng.integers(len(self.mistakes))]
            return source, place + self.rng.uniform(-16, 16, 3)
        source = int(self.rng.integers(len(self.scenes)))
        scene = self.scenes[source]
        if chance < NEAR_NODULE and len(scene.centers):
            place = scene.centers[self.rng.integers(len(scene.centers))]
            return source, place + self.rng.uniform(-0.32, 0.32, 3) * self.patch
        if chance < NEAR_NODULE + NEAR_MISTAKE + NEAR_BRIGHT and len(scene.bright_places):
            place = scene.bright_places[self.rng.integers(len(scene.bright_places))]
            return source, place + self.rng.uniform(-12, 12, 3)
        return source, scene.lung_places[self.rng.integers(len(scene.lung_places))].astype(np.float64)

    def _with_a_mass(
        self, image: NDArray[np.float32], centers: NDArray[np.float64], diameters: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """One more mass in the patch; what it covers is gone."""
        pasted = paste_mass(self.rng, image, self.masses_of_mm)
        if pasted is None:
            return centers, diameters
        center, diameter = pasted
        free = np.linalg.norm(centers - center, axis=1) > (diameters + diameter) / 2
        return np.vstack([centers[free], center]), np.append(diameters[free], diameter)

    def _draw(self) -> tuple[object, ...]:
        rng, side = self.rng, self.patch
        source, place = self._place()
        scene = self.scenes[source]
        origin = np.clip(np.round(place - side / 2).astype(int), 0, np.array(scene.voxels.shape) - side)
        corner = tuple(slice(int(start), int(start) + side) for start in origin)
        low, high = WINDOW_HU
        image = np.clip((scene.voxels[corner].astype(np.float32) - low) / (high - low), 0, 1)
        image = image * np.float32(rng.uniform(0.95, 1.05)) + np.float32(rng.uniform(-0.025, 0.025))
        centers = scene.centers - origin
        inside = ((centers > -0.5) & (centers < side - 0.5)).all(axis=1)
        centers, diameters = centers[inside], scene.diameters[inside]
        if self.masses_of_mm and rng.random() < PASTED:
            centers, diameters = self._with_a_mass(image, centers, diameters)
        axes = (0, 1, 2)
        if not self.masses_of_mm and rng.random() < 0.5:
            axes = (axes[0], axes[2], axes[1])
        if not self.masses_of_mm and rng.random() < 0.3:
            axes = (axes[1], axes[0], axes[2])
        flips = tuple(
            bool(rng.random() < share) for share in ((0, 0.15, 0.5) if self.masses_of_mm else (0.5,) * 3)
        )
        image, centers = image.transpose(axes), centers[:, axes]
        for axis in range(3):
            if flips[axis]:
                image = np.flip(image, axis)
                centers[:, axis] = side - 1 - centers[:, axis]
        heat, regression, weight = targets(centers, diameters, side // 2)
        return np.ascontiguousarray(image, np.float32), heat, regression, weight, source, origin, axes, flips


def targets(
    centers: NDArray[np.float64], diameters: NDArray[np.float64], side: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Heat map, regression maps and their weight at output stride 2, from centres in input voxels."""
    heat = np.zeros((side,) * 3, np.float32)
    regression = np.zeros((4, *heat.shape), np.float32)
    weight = np.zeros_like(heat)
    for center, diameter in zip((centers - 0.5) / 2, diameters, strict=True):
        reach = max(4.0, diameter / 2 * 0.75)
        low = np.maximum(np.floor(center - reach), 0).astype(int)
        high = np.minimum(np.ceil(center + reach + 1), side).astype(int)
        box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        offset = np.stack(np.broadcast_arrays(*(c - g for g, c in zip(np.ogrid[box], center, strict=True))))
        square = (offset**2).sum(axis=0)
        spread = max(0.7, diameter / 2 / 2 / 2.2)
        heat[box] = np.maximum(heat[box], np.exp(-square / (2 * spread**2)))
        near = square <= max(1.0, (diameter / 4 / 2) ** 2)
        nearest = tuple(int(i) for i in np.clip(np.round(center), 0, side - 1))
        near[tuple(i - s.start for i, s in zip(nearest, box, strict=True))] = True
        weight[box][near] = 1
        for axis in range(3):
            regression[axis][box][near] = offset[axis][near]
        regression[3][box][near] = np.log(diameter)
        heat[nearest] = 1
    return heat, regression, weight
