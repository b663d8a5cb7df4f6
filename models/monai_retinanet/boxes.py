"""Anchors, box decoding and non-maximum suppression of a RetinaNet, in numpy.

Boxes are (x_min, y_min, z_min, x_max, y_max, z_max) in voxel indices of the window, axes to the
patient's right, front and top, as MONAI has them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]
# MONAI clamps the logarithm of the size ratio here, so that exp() stays finite.
LOG_RATIO_MAX = float(np.log(1000.0 / 16))


def anchors(
    window: Sequence[int],
    level_shapes: Sequence[Sequence[int]],
    scales: Sequence[float],
    base_shapes: Sequence[Sequence[float]],
) -> Boxes:
    """All anchors of a window, level by level; at each place one for each base shape."""
    found = []
    for shape, scale in zip(level_shapes, scales, strict=True):
        # torch rounds halves to even, and so does numpy.
        half = np.round(np.asarray(base_shapes, np.float32) * np.float32(scale) / 2)
        cell = np.concatenate([-half, half], axis=1)
        steps = [side // count for side, count in zip(window, shape, strict=True)]
        axes = [np.arange(count) * step + step // 2 for count, step in zip(shape, steps, strict=True)]
        places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        places = np.concatenate([places, places], axis=1).astype(np.float32)
        found.append((places[:, None] + cell[None]).reshape(-1, 6))
    return np.concatenate(found).astype(np.float32)


def decode(codes: NDArray[np.float32], anchor: Boxes) -> Boxes:
    """Boxes from regression codes: shift in anchor sizes, logarithm of the size ratio."""
    size = anchor[:, 3:] - anchor[:, :3]
    center = (anchor[:, 3:] + anchor[:, :3]) / 2
    center = center + codes[:, :3] * size
    half = np.exp(np.minimum(codes[:, 3:], LOG_RATIO_MAX)) * size / 2
    return np.concatenate([center - half, center + half], axis=1).astype(np.float32)


def suppress(boxes: Boxes, scores: NDArray[np.float32], iou_max: float, count_max: int) -> NDArray[np.intp]:
    """Greedy suppression: indices of the boxes that remain, highest score first."""
    volume = np.prod(boxes[:, 3:] - boxes[:, :3], axis=1)
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order) and len(kept) < count_max:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        low = np.maximum(boxes[best, :3], boxes[rest, :3])
        high = np.minimum(boxes[best, 3:], boxes[rest, 3:])
        shared = np.prod(np.clip(high - low, 0, None), axis=1)
        order = rest[shared / (volume[best] + volume[rest] - shared + 1e-9) <= iou_max]
    return np.array(kept, np.intp)
