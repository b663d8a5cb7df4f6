"""What is put into patches while training: lesions of any form, and what only looks like one. Needs the extra `train`.

Each call paints at most one shape into every patch of a batch, on the device where the batch lies. Lengths are in
voxels of the patch, which are `voxel_mm` wide; densities in HU.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

WAVES, BLOBS, SPIKES = 5, 4, 6
# Of what a lesion covers, so much must change by this much, or nobody could see it.
CONTRAST_HU, CONTRAST_SHARE_MIN = 120.0, 0.25
# Between lesions, so that each has a place of its own.
APART_MM = 4.0


@dataclass(frozen=True)
class Family:
    """What is painted into some of the patches, as ranges to draw from.

    diameter_mm: of the ball of the same volume, its logarithm drawn evenly, or by log_normal (median and deviation).
    places: shares of those whose middle is at the lung's edge, at a vessel, in the lung, outside. stretch: of the axes.
    within: what it may cover: 0 everything, 1 lung, 2 all but lung. lesion: it is to be found. brighten: it never
    lowers a density. core: depth, in radii, of the solid core of a ground-glass lesion. spiked, hollow: how often it
    has spikes, and how often a middle of another density, and which. seen_mm_min, share_min: what of a lesion must lie
    in the lung, as a diameter and as a share of its volume. spares_bone: it does not replace bone.
    """

    share: float
    diameter_mm: tuple[float, float]
    hu: tuple[float, float]
    edge_mm: tuple[float, float]
    places: tuple[float, float, float, float] = (0.3, 0.3, 0.4, 0.0)
    stretch: tuple[tuple[float, float], ...] = ((0.75, 1.3),) * 3
    within: int = 0
    lesion: bool = False
    brighten: bool = False
    core: tuple[float, float] | None = None
    spiked: float = 0.0
    hollow: tuple[float, tuple[float, float]] = (0.0, (0.0, 0.0))
    log_normal: tuple[float, float] | None = None
    seen_mm_min: float = 4.0
    share_min: float = 0.17
    spares_bone: bool = False


# A lesion of which 0.55 of the diameter is seen has 0.17 of its volume in the lung.
_NODULE_MM = (4.0, 30.0)
_THIN = ((2.2, 5.0), (0.4, 0.7), (0.4, 0.7))
_FLAT = ((1.4, 2.6), (1.4, 2.6), (0.15, 0.35))
# Lung that collapsed: wide along the pleura, thin between the fissures.
_WEDGED = ((1.4, 2.4), (0.9, 1.6), (0.2, 0.5))
_ON_WALL, _ON_EDGE = (0.5, 0.2, 0.3, 0.0), (0.7, 0.1, 0.2, 0.0)

NODULE_FAMILIES = (
    Family(0.40, _NODULE_MM, (-130, 150), (0.6, 2.2), lesion=True, log_normal=(8.0, 0.5), spiked=0.25,
           hollow=(0.06, (150, 900))),
    Family(0.05, (8.0, 30.0), (-80, 110), (0.6, 1.8), lesion=True, spiked=0.3, hollow=(0.7, (-980, -600))),
    Family(0.12, (5.0, 30.0), (-720, -330), (1.0, 4.0), lesion=True, brighten=True, places=(0.2, 0.25, 0.55, 0)),
    Family(0.09, (7.0, 30.0), (-680, -330), (1.0, 4.0), lesion=True, brighten=True, core=(0.25, 0.7),
           places=(0.2, 0.25, 0.55, 0)),
)  # fmt: skip
NODULE_LOOKALIKES = (
    Family(0.15, (1.4, 3.6), (250, 1400), (0.6, 1.2), within=1, brighten=True, places=(0.2, 0.3, 0.5, 0)),
    Family(0.25, (3.5, 14.0), (-350, 300), (0.6, 1.6), stretch=_THIN, within=1, brighten=True),
    Family(0.15, (5.0, 22.0), (-500, 80), (0.8, 2.0), stretch=_FLAT, within=1, brighten=True, places=_ON_WALL),
    Family(0.10, (8.0, 50.0), (-130, 350), (1.0, 6.0), within=2, places=(0.2, 0, 0, 0.8)),
)  # fmt: skip
MASS_FAMILIES = (
    Family(0.35, (25.0, 85.0), (0, 100), (0.8, 3.0), places=(0.6, 0.15, 0.25, 0), stretch=((0.7, 1.4),) * 3, spiked=0.3,
           hollow=(0.3, (-10, 40)), lesion=True, seen_mm_min=24.0, share_min=0.3, spares_bone=True),
    Family(0.25, (25.0, 75.0), (0, 100), (0.8, 3.0), places=(0.4, 0.5, 0.1, 0), stretch=((0.55, 1.8),) * 3, spiked=0.2,
           hollow=(0.2, (-10, 40)), lesion=True, seen_mm_min=24.0, share_min=0.3, spares_bone=True),
    Family(0.08, (28.0, 85.0), (0, 90), (0.8, 3.0), places=(0.5, 0.1, 0.4, 0), spiked=0.2, hollow=(0.9, (-980, -700)),
           lesion=True, seen_mm_min=24.0, share_min=0.3, spares_bone=True),
)  # fmt: skip
MASS_LOOKALIKES = (
    Family(0.25, (15.0, 110.0), (-130, 350), (1.0, 8.0), within=2, places=(0.3, 0, 0, 0.7)),
    Family(0.20, (4.0, 14.0), (-100, 120), (0.8, 2.0), within=1),
    Family(0.15, (10.0, 30.0), (-350, 120), (0.8, 3.0), stretch=_THIN, within=1, brighten=True),
    Family(0.20, (15.0, 60.0), (-600, 60), (1.0, 5.0), stretch=_FLAT, within=1, brighten=True, places=_ON_EDGE),
    Family(0.15, (20.0, 70.0), (-780, -450), (4.0, 20.0), within=1, brighten=True),
    Family(0.15, (30.0, 80.0), (-60, 130), (1.0, 6.0), stretch=_WEDGED, within=1, brighten=True, places=_ON_EDGE),
)  # fmt: skip


@dataclass(frozen=True)
class Painted:
    """What a call has put into the patches: centres (n, 3) and diameters (n), and for which it is a lesion (n)."""

    centers: Tensor
    diameters: Tensor
    lesion: Tensor


def paint(
    rng: np.random.Generator, families: tuple[Family, ...], hounsfield: Tensor, depth_mm: Tensor, voxel_mm: float,
    centers: Tensor, diameters: Tensor,
) -> Painted:  # fmt: skip
    """Paint into some of the patches (n, d, h, w), in place, beside the lesions at `centers` (n, k, 3).

    diameters: (n, k), 0 where there is none. Which family a patch gets is drawn by their shares; the rest gets none.
    """
    count, device = len(hounsfield), hounsfield.device
    chosen = np.searchsorted(np.cumsum([one.share for one in families]), rng.random(count))
    drawn = _draw(rng, [families[i] if i < len(families) else None for i in chosen], voxel_mm)
    value = {name: torch.from_numpy(array).to(device, non_blocking=True) for name, array in drawn.items()}
    place = _places(hounsfield, depth_mm, value["place"]) + value["off"]
    side = min(*hounsfield.shape[1:], _side_of(drawn["radius"].max()))
    index, offset = _box_around(place, side, hounsfield.shape)
    before, depth = hounsfield.flatten(1).gather(1, index), depth_mm.flatten(1).gather(1, index)
    shape = (count, side, side, side)
    before, depth = before.view(shape), depth.view(shape)
    distance = _distance(offset, value)
    weight = (0.5 - distance / _wide(value["edge"])).clamp(0, 1)
    within = _wide(value["within"])
    weight = weight * torch.where(within == 1, (depth / voxel_mm + 0.5).clamp(0, 1), 1.0)
    weight = weight * torch.where(within == 2, (-depth / voxel_mm / 2).clamp(0, 1), 1.0)
    weight = weight * torch.where(_wide(value["spares_bone"]) > 0, (before < 150).float(), 1.0)
    after = _painted(before, weight, distance, value)
    seen = weight * (depth > 0)
    volume = seen.sum((1, 2, 3)).clamp(min=1e-3)
    middle = torch.stack([(seen * axis).sum((1, 2, 3)) / volume for axis in offset], 1) + place
    diameter = (6 * volume / torch.pi) ** (1 / 3)
    kept = (value["radius"] > 0) & _is_apart(
        place, 2 * value["radius"], centers, diameters, APART_MM / voxel_mm
    )
    lesion = value["lesion"] > 0
    changed = (seen * ((after - before).abs() > CONTRAST_HU)).sum((1, 2, 3)) / volume
    lesion_is_seen = (
        (diameter * voxel_mm >= value["seen_mm_min"])
        & (volume >= value["share_min"] * weight.sum((1, 2, 3)))
        & (volume >= value["share_min"] * 4.19 * value["radius"] ** 3)
        & (changed > CONTRAST_SHARE_MIN)
    )
    kept &= ~lesion | lesion_is_seen
    after = torch.where(_wide(kept), after, before)
    hounsfield.view(count, -1).scatter_(1, index, after.view(count, -1))
    return Painted(middle, diameter, kept & lesion)


def _draw(
    rng: np.random.Generator, families: list[Family | None], voxel_mm: float
) -> dict[str, NDArray[np.float32]]:
    """The numbers of each patch's shape; radius 0 where it has none."""
    rows = [_sized(rng, one or NODULE_FAMILIES[0], voxel_mm) for one in families]
    value = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    count = len(families)
    value["radius"] *= [one is not None for one in families]
    away = _directions(rng, (count, 1, 3))[:, 0]
    at_vessel = value["place"] == 1
    value["off"] = away * np.where(at_vessel, rng.uniform(0, 1.2, count) * value["radius"], 0.5)[:, None]
    axes, _ = np.linalg.qr(rng.normal(size=(count, 3, 3)))
    stretch = value.pop("stretch")
    stretch /= np.cbrt(stretch.prod(axis=1, keepdims=True))
    value |= {
        "turn": axes / stretch[:, :, None],
        "power": rng.uniform(1.6, 3.5, count),
        "wave": rng.normal(size=(count, WAVES, 3)) * rng.uniform(0.8, 4.0, (count, WAVES, 1)),
        "phase": rng.uniform(0, 2 * np.pi, (count, WAVES)),
        "ripple": rng.uniform(0, 0.12, count),
        "blobs": _directions(rng, (count, BLOBS, 3)) * rng.uniform(0.1, 0.75, (count, BLOBS, 1)),
        "blob_size": rng.uniform(0.45, 0.8, (count, BLOBS)),
        "blobby": (rng.random(count) < 0.4) & (stretch.max(axis=1) < 2),
        "spikes": _directions(rng, (count, SPIKES, 3)),
        "spike": rng.uniform(0.15, 0.8, count) * (rng.random(count) < value.pop("spiked")),
        "spike_width": rng.uniform(15, 60, count),
        "core_hu": rng.uniform(-80, 80, count),
    }
    return {name: np.asarray(array, np.float32) for name, array in value.items()}


def _sized(rng: np.random.Generator, family: Family, voxel_mm: float) -> dict[str, object]:
    """What depends on the family."""
    low, high = family.diameter_mm
    if family.log_normal is None:
        diameter = np.exp(rng.uniform(np.log(low), np.log(high)))
    else:
        middle, deviation = family.log_normal
        diameter = np.clip(rng.lognormal(np.log(middle), deviation), low, high)
    hollow_share, hollow_hu = family.hollow
    return {
        "radius": diameter / 2 / voxel_mm,
        "place": np.searchsorted(np.cumsum(family.places[:3]), rng.random() * sum(family.places)),
        "stretch": [rng.uniform(*axis) for axis in family.stretch],
        "spiked": family.spiked,
        "edge": max(rng.uniform(*family.edge_mm) / voxel_mm, 0.6),
        "hu": rng.uniform(*family.hu),
        "brighten": family.brighten,
        "core": rng.uniform(*family.core) if family.core else 9.0,
        "hollow": rng.uniform(0.25, 0.7) if rng.random() < hollow_share else -9.0,
        "hollow_hu": rng.uniform(*hollow_hu),
        "within": family.within,
        "spares_bone": family.spares_bone,
        "lesion": family.lesion,
        # As in `phantom_lesions`, a little less than the smallest will do.
        "seen_mm_min": family.seen_mm_min * 0.97,
        "share_min": family.share_min,
    }


def _directions(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    vectors = rng.normal(size=shape)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def _wide(value: Tensor) -> Tensor:
    return value.view(-1, 1, 1, 1)


def _side_of(radius: float) -> int:
    """Of a box that holds a shape of this radius, its spikes and its edge; few sizes, so that memory is reused."""
    return int(np.ceil((2 * 1.6 * radius + 6) / 8) * 8)


def _places(hounsfield: Tensor, depth_mm: Tensor, kind: Tensor) -> Tensor:
    """A random voxel of the wanted kind in each patch, the middle voxel where there is none."""
    kind = _wide(kind)
    wanted = torch.where(kind == 0, (depth_mm > -1) & (depth_mm < 3), depth_mm > 6)
    wanted = torch.where(kind == 1, (depth_mm > 0) & (hounsfield > -500), wanted)
    wanted = torch.where(kind == 3, depth_mm < -2, wanted)
    # Every second voxel each way will do.
    wanted = wanted[:, ::2, ::2, ::2]
    _, rows, columns = wanted.shape[1:]
    found = (torch.rand(wanted.shape, device=wanted.device) * wanted).flatten(1).argmax(1)
    place = torch.stack([found // (rows * columns), found // columns % rows, found % columns], 1)
    return place.float() * 2


def _box_around(place: Tensor, side: int, shape: torch.Size) -> tuple[Tensor, list[Tensor]]:
    """Flat indices (n, side³) of a box in each patch, and the offsets of its voxels from `place` along each axis."""
    steps = torch.arange(side, device=place.device)
    index, offsets = 0, []
    for axis, length in enumerate(shape[1:]):
        start = (place[:, axis].round().long() - side // 2).clamp(0, length - side)
        along = (start[:, None] + steps).view(-1, *(side if a == axis else 1 for a in range(3)))
        index = index * length + along
        offsets.append(along - _wide(place[:, axis]))
    assert isinstance(index, Tensor)
    return index.flatten(1), offsets


def _distance(offset: list[Tensor], value: dict[str, Tensor]) -> Tensor:
    """About the signed distance to each patch's shape, negative inside."""
    radius = value["radius"].clamp(min=0.5)
    turned = [
        sum(_wide(value["turn"][:, k, a]) * offset[a] for a in range(3)) / _wide(radius) for k in range(3)
    ]
    power = _wide(value["power"])
    even = sum((axis.abs() + 1e-4) ** power for axis in turned) ** (1 / power)
    outline = torch.ones_like(even)
    for number in range(WAVES):
        wave, phase = value["wave"][:, number], value["phase"][:, number]
        swing = sum(_wide(wave[:, a]) * turned[a] for a in range(3)) + _wide(phase)
        outline += _wide(value["ripple"]) * swing.sin()
    length = sum(axis * axis for axis in turned).sqrt() + 1e-4
    for number in range(SPIKES):
        spike = value["spikes"][:, number]
        cosine = sum(_wide(spike[:, a]) * turned[a] for a in range(3)) / length
        outline += _wide(value["spike"]) * ((cosine - 1) * _wide(value["spike_width"])).exp()
    smooth = even - outline
    density = torch.zeros_like(even)
    for number in range(BLOBS):
        middle, size = value["blobs"][:, number], value["blob_size"][:, number]
        square = sum((turned[a] - _wide(middle[:, a])) ** 2 for a in range(3))
        density += (-square / (2 * _wide(size) ** 2)).exp()
    blobs = ((-2 * (density + 1e-20).log() + 1).clamp(min=0).sqrt() - 1.35) * 0.6
    return torch.where(_wide(value["blobby"]) > 0, blobs, smooth) * _wide(radius)


def _painted(before: Tensor, weight: Tensor, distance: Tensor, value: dict[str, Tensor]) -> Tensor:
    """The densities with the shape in them."""
    radius = _wide(value["radius"])
    hollow = (0.5 - (distance + radius * (1 - _wide(value["hollow"]))) / 1.2).clamp(0, 1)
    tissue = _wide(value["hu"]) + (_wide(value["hollow_hu"]) - _wide(value["hu"])) * hollow
    core = (0.5 - (distance + radius * _wide(value["core"])) / 1.2).clamp(0, 1)
    tissue = tissue + (_wide(value["core_hu"]) - tissue) * core
    after = before + (tissue - before) * weight
    return torch.where(_wide(value["brighten"]) > 0, torch.maximum(before, after), after)


def _is_apart(place: Tensor, diameter: Tensor, centers: Tensor, diameters: Tensor, gap: float) -> Tensor:
    """Whether a shape keeps clear of every lesion of its patch."""
    away = (centers - place[:, None]).norm(dim=2)
    return ((away > (diameters + diameter[:, None]) / 2 + gap) | (diameters == 0)).all(1)
