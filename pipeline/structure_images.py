"""Pictures of structures for a report: planes through them with each in its colour, in radiological convention."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from models.ops.orientation import Orientation, Scalar, orientation_of
from pipeline.key_images import WINDOW_CENTER_HU, WINDOW_WIDTH_HU
from pipeline.report_view import KeyImage
from study.answer import Structure
from study.volume import Volume

# Told apart by people who do not see red and green (Okabe and Ito 2008); repeated when there are more structures.
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#F0E442", "#0072B2")
_SIZE_PX = 420
_SHARE = 0.38
# For each picture the patient axis that it cuts (up, back, left), and the letters at its left and upper edge.
_AXIAL, _CORONAL, _SAGITTAL = (0, "R", "A"), (1, "R", "H"), (2, "A", "H")


def colour_of(number: int) -> str:
    """The colour of a structure by its number, from 1."""
    return COLOURS[(number - 1) % len(COLOURS)]


def render_structures(volume: Volume, structures: Sequence[Structure]) -> list[KeyImage]:
    """The axial and coronal planes that show most of them, and the sagittal ones of either side."""
    orientation = orientation_of(volume.affine_mm)
    shown = [_extent(volume, structures, axis) for axis in orientation.order]
    if not shown[0].any():
        return []
    planes = [("axial", _AXIAL, _most(shown[0])), ("coronal", _CORONAL, _most(shown[1]))]
    used = np.flatnonzero(shown[2])
    middle = (int(used[0]) + int(used[-1]) + 1) // 2
    halves = [np.where(np.arange(len(shown[2])) < middle, shown[2], 0)]
    halves.append(shown[2] - halves[0])
    if orientation.flip[2]:
        halves.reverse()
    planes += [
        (f"sagittal-{side}", _SAGITTAL, _most(half))
        for side, half in zip(("right", "left"), halves, strict=True)
        if half.any()
    ]
    return [_picture(volume, structures, orientation, *plane) for plane in planes]


def _extent(volume: Volume, structures: Sequence[Structure], axis: int) -> NDArray[np.int64]:
    """How many voxels of all structures each plane across one axis of the volume holds."""
    counts = np.zeros(volume.voxels.shape[axis], np.int64)
    others = tuple(other for other in range(3) if other != axis)
    for structure in structures:
        first, mask = structure.segment.origin[axis], structure.segment.mask
        counts[first : first + mask.shape[axis]] += np.count_nonzero(mask, axis=others)
    return counts


def _most(counts: NDArray[np.int64]) -> int:
    return int(np.argmax(counts))


def _picture(
    volume: Volume,
    structures: Sequence[Structure],
    orientation: Orientation,
    name: str,
    plane: tuple[int, str, str],
    index: int,
) -> KeyImage:
    across, left_letter, top_letter = plane
    axis = orientation.order[across]
    grey, spacing = _standing(np.asarray(volume.voxels.take(index, axis)), volume, orientation, across)
    low = WINDOW_CENTER_HU - WINDOW_WIDTH_HU / 2
    picture = np.clip((grey.astype(np.float32) - low) / WINDOW_WIDTH_HU * 255, 0, 255)[..., None].repeat(3, 2)
    for number, structure in enumerate(structures, start=1):
        drawn, _ = _standing(_cut(volume, structure, axis, index), volume, orientation, across)
        colour = np.array([int(colour_of(number)[at : at + 2], 16) for at in (1, 3, 5)], np.float32)
        picture[drawn] = picture[drawn] * (1 - _SHARE) + colour * _SHARE
    height, width = picture.shape[0] * spacing[0], picture.shape[1] * spacing[1]
    scale = _SIZE_PX / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = Image.fromarray(picture.astype(np.uint8), "RGB").resize(size, Image.Resampling.BILINEAR)
    _letters(image, left_letter, top_letter)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return KeyImage(f"structures-{name}.png", buffer.getvalue(), name, 0, name, *image.size)


def _cut(volume: Volume, structure: Structure, axis: int, index: int) -> NDArray[np.bool_]:
    """A structure on one plane of the volume."""
    shape = [size for other, size in enumerate(volume.voxels.shape) if other != axis]
    drawn = np.zeros(shape, np.bool_)
    mask, origin = structure.segment.mask, structure.segment.origin
    depth = index - origin[axis]
    if 0 <= depth < mask.shape[axis]:
        part = tuple(slice(origin[o], origin[o] + mask.shape[o]) for o in range(3) if o != axis)
        drawn[part] = mask.take(depth, axis)
    return drawn


def _standing(
    plane: NDArray[Scalar], volume: Volume, orientation: Orientation, across: int
) -> tuple[NDArray[Scalar], tuple[float, float]]:
    """A plane with the head or the front at the top and the right or the front at the left, and mm of (row, column)."""
    kept = [one for one in range(3) if one != across]
    first, second = (orientation.order[one] for one in kept)
    turned = plane if first < second else plane.T
    flips = [orientation.flip[one] for one in kept]
    if kept[0] == 0:  # the head belongs at the top
        flips[0] = not flips[0]
    turned = turned[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    return turned, (volume.spacing_mm[first], volume.spacing_mm[second])


def _letters(image: Image.Image, left: str, top: str) -> None:
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(24)
    places = (((6.0, image.height / 2 - 14), left), ((image.width / 2 - 8, 2.0), top))
    for at, letter in places:
        draw.text(at, letter, fill=(235, 235, 235), font=font, stroke_width=2, stroke_fill=(0, 0, 0))
