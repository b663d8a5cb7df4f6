"""Training patches and their targets, drawn at random from scenes on the training device. Needs the extra `train`."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from models.lung_nodule_ct import patch_scanner, patch_shapes
from models.lung_nodule_ct.network import COARSE, STRIDE, window
from models.lung_nodule_ct.patch_shapes import Family, Painted
from models.lung_nodule_ct.scenes import DEPTH_STEP_MM, Scene

Part = Literal["nodules", "masses"]
PLACES_KEPT, MISTAKES_KEPT = 4000, 4000
BRIGHT_ABOVE_HU = -450
# Shares of patches centred near a lesion, near a place that the network took for one, near bright voxels in the
# lung (vessels, fissures, walls), at the lung's edge; the rest anywhere in the lung.
NEAR_LESION, NEAR_MISTAKE, NEAR_BRIGHT, NEAR_EDGE = 0.3, 0.2, 0.2, 0.15
# Heat of what is neither to be found nor a mistake: too large or too small for the network.
NEITHER = 0.999
# Share of patches with a breath between two of their slices.
BREATHS = 0.06


@dataclass(frozen=True)
class Recipe:
    """How patches for the networks of one part are made.

    voxel_mm: what the network sees; shapes are painted and scanned in such voxels too.
    find_mm: lesions to be found; neither_mm: beyond `find_mm`, neither right nor wrong. scale: of the chest.
    turned: mirrored in each direction and turned, otherwise only left and right, and some upside down on their face.
    """

    voxel_mm: int
    find_mm: tuple[float, float]
    neither_mm: tuple[float, float]
    scale: tuple[float, float]
    turned: bool
    lookalikes: tuple[Family, ...]
    lesions: tuple[Family, ...]
    rounds: tuple[int, int]


RECIPES: dict[Part, Recipe] = {
    "nodules": Recipe(1, (0.0, 36.0), (0.0, 1000.0), (0.87, 1.15), True,
                      patch_shapes.NODULE_LOOKALIKES, patch_shapes.NODULE_FAMILIES, (1, 2)),
    "masses": Recipe(COARSE, (20.0, 1000.0), (13.0, 1000.0), (0.85, 1.18), False,
                     patch_shapes.MASS_LOOKALIKES, patch_shapes.MASS_FAMILIES, (2, 1)),
}  # fmt: skip


@dataclass(frozen=True)
class Held:
    """A scene on the training device, in voxels of the recipe, and places (n, 3) to draw patches from."""

    voxels: Tensor
    depth: Tensor
    centers: NDArray[np.float64]
    diameters: NDArray[np.float64]
    places: dict[str, NDArray[np.int64]]
    scanned: bool


@dataclass(frozen=True)
class Origin:
    """Where a patch was cut: scene, first voxel and size of the crop, then axes exchanged and mirrored."""

    scene: int
    start: NDArray[np.int64]
    size: NDArray[np.int64]
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]


@dataclass(frozen=True)
class Batch:
    """image (n, 1, p, p, p) in [0, 1]; heat and weight (n, q, q, q); regression (n, 4, q, q, q), q = p/2."""

    image: Tensor
    heat: Tensor
    regression: Tensor
    weight: Tensor
    origins: tuple[Origin, ...]


def hold(scene: Scene, recipe: Recipe, device: torch.device, rng: np.random.Generator) -> Held:
    """Bring a scene to the device and to the recipe's voxels."""
    voxels, depth = torch.from_numpy(scene.voxels).to(device), torch.from_numpy(scene.depth).to(device)
    step = recipe.voxel_mm
    if step > 1:
        clipped = voxels[None, None].float().clamp(-1000, 600)
        voxels = functional.avg_pool3d(clipped, step)[0, 0].round().to(torch.int16)
        depth = functional.avg_pool3d(depth[None, None].float(), step)[0, 0].round().to(torch.int8)
    hu, mm = voxels[::2, ::2, ::2].cpu().numpy(), depth[::2, ::2, ::2].cpu().numpy() * DEPTH_STEP_MM
    masks = {"bright": (mm > 0) & (hu > BRIGHT_ABOVE_HU), "edge": (mm > -6) & (mm < 6), "anywhere": mm > 0}
    places = {}
    for name, mask in masks.items():
        found = np.argwhere(mask) * 2
        places[name] = found[rng.integers(0, len(found), PLACES_KEPT)] if len(found) else found
    centers = (scene.centers - (step - 1) / 2) / step
    places["lesion"] = np.rint(centers[scene.diameters >= recipe.find_mm[0]]).astype(np.int64)
    return Held(voxels, depth, centers, scene.diameters / step, places, scene.scanned)


@dataclass
class PatchSampler:
    """Draws batches. `report_mistakes` feeds places of false alarms back into the draw.

    patch: side of what the network sees, in its own voxels.
    """

    recipe: Recipe
    patch: int
    rng: np.random.Generator
    device: torch.device
    scenes: list[Held] = field(default_factory=list)
    mistakes: deque[tuple[int, NDArray[np.float64]]] = field(
        default_factory=lambda: deque(maxlen=MISTAKES_KEPT)
    )

    @property
    def margin(self) -> tuple[int, int, int]:
        """What is cut off at each side after scanning, where the ends of the patch meet; more across the slices."""
        return (8, 4, 4) if self.recipe.voxel_mm == 1 else (3, 1, 1)

    def batch(self, size: int) -> Batch:
        """`size` patches with their targets."""
        recipe, rng = self.recipe, self.rng
        cut = [self._cut() for _ in range(size)]
        hounsfield = torch.stack([one[0] for one in cut])
        depth = torch.stack([one[1] for one in cut]) * DEPTH_STEP_MM
        most = max(len(one[2]) for one in cut) + 1
        centers, diameters = np.zeros((size, most, 3), np.float32), np.zeros((size, most), np.float32)
        for row, (_, _, places, widths, _) in enumerate(cut):
            centers[row, : len(places)], diameters[row, : len(places)] = places, widths
        places, widths = (
            torch.from_numpy(centers).to(self.device),
            torch.from_numpy(diameters).to(self.device),
        )
        scanned = torch.tensor([self.scenes[one[4].scene].scanned for one in cut], device=self.device)
        rounds = (recipe.lookalikes,) * recipe.rounds[0] + (recipe.lesions,) * recipe.rounds[1]
        for families in rounds:
            painted = self._painted(families, hounsfield, depth, places, widths)
            places = torch.cat([places, torch.cat([one.centers for one in painted])[:, None]], 1)
            found = torch.cat([torch.where(one.lesion, one.diameters, 0.0) for one in painted])
            widths = torch.cat([widths, found[:, None]], 1)
        places = self._breathe(hounsfield, places)
        image = patch_scanner.scan(rng, hounsfield, scanned, recipe.voxel_mm, recipe.voxel_mm > 1)
        margin = self.margin
        inner = tuple(slice(m, length - m) for m, length in zip(margin, image.shape[1:], strict=True))
        image = window(image[:, *inner].clamp(-1024, 3071)).unsqueeze(1)
        places = places - torch.tensor(margin, device=self.device)
        heat, regression, weight = targets(
            places, widths, self.patch // STRIDE,
            (recipe.find_mm[0] / recipe.voxel_mm, recipe.find_mm[1] / recipe.voxel_mm),
            (recipe.neither_mm[0] / recipe.voxel_mm, recipe.neither_mm[1] / recipe.voxel_mm),
        )  # fmt: skip
        return Batch(image, heat, regression, weight, tuple(one[4] for one in cut))

    def _painted(
        self, families: tuple[Family, ...], hounsfield: Tensor, depth: Tensor, places: Tensor, widths: Tensor
    ) -> list[Painted]:
        """Paint one round. A processor is faster patch by patch: there small shapes have small boxes."""
        at_once = 1 if self.device.type == "cpu" else len(hounsfield)
        rows = zip(*(one.split(at_once) for one in (hounsfield, depth, places, widths)), strict=True)
        mm = self.recipe.voxel_mm
        return [patch_shapes.paint(self.rng, families, hu, deep, mm, *known) for hu, deep, *known in rows]

    def report_mistakes(self, origin: Origin, output_index: Sequence[int]) -> None:
        """Remember the place of a false alarm at an output voxel of a patch that was cut at `origin`."""
        point = np.array(output_index) * STRIDE + (STRIDE - 1) / 2 + self.margin
        place, shape = np.empty(3), self._shape()
        for axis, source in enumerate(origin.axes):
            along = shape[axis] - 1 - point[axis] if origin.flips[axis] else point[axis]
            place[source] = (along + 0.5) * origin.size[source] / shape[axis] - 0.5 + origin.start[source]
        self.mistakes.append((origin.scene, place))

    def _shape(self) -> tuple[int, int, int]:
        z, y, x = self.margin
        return self.patch + 2 * z, self.patch + 2 * y, self.patch + 2 * x

    def _place(self) -> tuple[int, NDArray[np.float64]]:
        chance, rng = self.rng.random(), self.rng
        near = np.cumsum([NEAR_LESION, NEAR_MISTAKE, NEAR_BRIGHT, NEAR_EDGE])
        side = self.patch
        if near[0] <= chance < near[1] and len(self.mistakes) > 50:
            source, place = self.mistakes[rng.integers(len(self.mistakes))]
            return source, place + rng.uniform(-0.25, 0.25, 3) * side
        source = int(rng.integers(len(self.scenes)))
        scene = self.scenes[source]
        if chance < near[0] and len(scene.places["lesion"]):
            lesions = scene.places["lesion"]
            return source, lesions[rng.integers(len(lesions))] + rng.uniform(-0.4, 0.4, 3) * side
        kind = "bright" if chance < near[2] else "edge" if chance < near[3] else "anywhere"
        places = scene.places[kind] if len(scene.places[kind]) else scene.places["anywhere"]
        return source, places[rng.integers(len(places))] + rng.uniform(-0.25, 0.25, 3) * side

    def _cut(self) -> tuple[Tensor, Tensor, NDArray[np.float64], NDArray[np.float64], Origin]:
        """A piece of a scene, scaled, turned and mirrored: densities, depth, centres and diameters of lesions."""
        rng, shape = self.rng, self._shape()
        source, place = self._place()
        scene = self.scenes[source]
        axes, flips = self._attitude()
        scale = rng.uniform(*self.recipe.scale)
        length = np.array(scene.voxels.shape)
        size = np.empty(3, np.int64)
        for axis, of in enumerate(axes):
            size[of] = min(round(shape[axis] * scale * rng.uniform(0.97, 1.03)), length[of])
        start = np.clip(np.round(place - size / 2).astype(np.int64), 0, length - size)
        origin = Origin(source, start, size, axes, flips)
        z, y, x = (slice(int(a), int(a + n)) for a, n in zip(start, size, strict=True))
        unturned = tuple(shape[axes.index(of)] for of in range(3))
        pieces = torch.stack([scene.voxels[z, y, x].float(), scene.depth[z, y, x].float()])[None]
        pieces = functional.interpolate(pieces, unturned, mode="trilinear")[0]
        pieces = pieces.permute(0, *(axis + 1 for axis in axes))
        mirrored = [axis + 1 for axis in range(3) if flips[axis]]
        pieces = pieces.flip(mirrored) if mirrored else pieces
        ratio = np.array(unturned) / size
        centers = ((scene.centers - start + 0.5) * ratio - 0.5)[:, list(axes)]
        centers = np.where(flips, np.array(shape) - 1 - centers, centers)
        inside = ((centers > -0.5) & (centers < np.array(shape) - 0.5)).all(axis=1)
        return pieces[0], pieces[1], centers[inside], scene.diameters[inside] * np.cbrt(ratio.prod()), origin

    def _attitude(self) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
        rng, axes = self.rng, (0, 1, 2)
        if self.recipe.turned:
            axes = (0, 2, 1) if rng.random() < 0.5 else axes
            axes = (axes[1], axes[0], axes[2]) if rng.random() < 0.25 else axes
        shares = (0.5, 0.5, 0.5) if self.recipe.turned else (0.0, 0.15, 0.5)
        flips = rng.random(3) < shares
        return axes, (bool(flips[0]), bool(flips[1]), bool(flips[2]))

    def _breathe(self, hounsfield: Tensor, places: Tensor) -> Tensor:
        """In some patches everything from a slice on is displaced, as a breath between two rotations does.

        places: (n, k, 3) of the lesions; returns where they are then.
        """
        for row in np.flatnonzero(self.rng.random(len(hounsfield)) < BREATHS):
            first = int(self.rng.integers(8, hounsfield.shape[1] - 8))
            shift = -(-int(self.rng.integers(1, 4)) // self.recipe.voxel_mm)
            hounsfield[row, first:] = hounsfield[row, first:].roll(shift, 1)
            places = places.clone()
            places[row, :, 1] += shift * (places[row, :, 0] >= first)
        return places


def targets(
    centers: Tensor,
    diameters: Tensor,
    side: int,
    find: tuple[float, float] = (0.0, 1e9),
    neither: tuple[float, float] = (0.0, 1e9),
) -> tuple[Tensor, Tensor, Tensor]:
    """Heat, regression maps and their weight at output stride 2, from centres (n, k, 3) and diameters (n, k) in voxels.

    A diameter of 0 is no lesion. find, neither: diameters to be found, and those that count neither way.
    """
    count, device = len(centers), centers.device
    heat = torch.zeros((count, side, side, side), device=device)
    regression, weight = torch.zeros((count, 4, side, side, side), device=device), torch.zeros_like(heat)
    steps = torch.arange(side, device=device, dtype=torch.float32)
    grid = [steps.view(1, *(-1 if a == axis else 1 for a in range(3))) for axis in range(3)]
    peaks = torch.zeros_like(heat, dtype=torch.bool)
    for number in range(centers.shape[1]):
        center, diameter = (centers[:, number] - 0.5) / STRIDE, diameters[:, number].view(-1, 1, 1, 1)
        within = ((center > -0.25) & (center < side - 0.75)).all(1).view(-1, 1, 1, 1)
        found = (diameter > 0) & (diameter >= find[0]) & (diameter <= find[1])
        other = (diameter > 0) & ~found & (diameter >= neither[0]) & (diameter <= neither[1])
        offset = [center[:, a].view(-1, 1, 1, 1) - grid[a] for a in range(3)]
        square = sum(axis**2 for axis in offset)
        spread = (diameter / 8.8).clamp(min=0.7)
        around = (-square / (2 * spread**2)).exp() * (square.sqrt() < (diameter * 0.375).clamp(min=4.0))
        heat = torch.maximum(heat, around * found)
        heat = torch.maximum(heat, NEITHER * (other & (square.sqrt() < diameter / 4 + 1)))
        nearest = sum((axis.abs() <= 0.5) for axis in offset) == 3
        peaks |= nearest & found & within
        near = (square <= (diameter / 6).square().clamp(min=1.0)) & found
        weight = torch.where(near, 1.0, weight)
        for axis in range(3):
            regression[:, axis] = torch.where(near, offset[axis], regression[:, axis])
        regression[:, 3] = torch.where(near, diameter.clamp(min=1e-3).log(), regression[:, 3])
    # Of two voxels equally near, both are peaks; everywhere else the heat stays below that of a peak.
    return torch.where(peaks, 1.0, heat.clamp(max=NEITHER)), regression, weight
