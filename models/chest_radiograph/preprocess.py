"""Radiograph -> the picture that the graph reads: borders off, a fixed square, values by rank."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]
Box = tuple[int, int, int, int]

INPUT_PX = 224
# A line of pixels that varies less than this share of the picture's range was painted by a shutter or a collimator's
# software. Exposed film varies more: where it is white all over there may be a dense abdomen.
_FLAT_SHARE = 0.0005
_TRIM_SHARE_MAX = 0.3
_LEVELS = 4096


def prepare(pixels: NDArray[np.generic], size: int = INPUT_PX) -> tuple[Array, Box]:
    """The square picture, values in [0, 1] by rank, and the (top, left, bottom, right) box it was made of."""
    box = field_of_view(pixels)
    top, left, bottom, right = box
    return by_rank(resized(np.asarray(pixels[top:bottom, left:right], np.float32), size)), box


def field_of_view(pixels: NDArray[np.generic]) -> Box:
    """The picture without flat margins: what a collimator, a shutter or a scanner left around it."""
    step = max(1, min(pixels.shape) // 256)
    small = np.asarray(pixels[::step, ::step], np.float32)
    low, high = np.quantile(small, (0.01, 0.99))
    edges = []
    for axis in (0, 1):
        lines = small if axis == 0 else small.T
        inner = lines[:, lines.shape[1] // 8 : -(lines.shape[1] // 8) or None]
        flat = inner.std(axis=1) < _FLAT_SHARE * (high - low) + 1e-6
        most = int(len(flat) * _TRIM_SHARE_MAX)
        first = int(np.argmin(flat[:most])) if not flat[:most].all() else most
        last = int(np.argmin(flat[::-1][:most])) if not flat[::-1][:most].all() else most
        edges.append((first * step, pixels.shape[axis] - last * step))
    (top, bottom), (left, right) = edges
    return top, left, bottom, right


def resized(picture: Array, size: int) -> Array:
    """Stretched to a square by averaging over the area that each new pixel covers."""
    for axis in (0, 1):
        picture = _resize_axis(picture, axis, size)
    return picture


def _resize_axis(picture: Array, axis: int, size: int) -> Array:
    length = picture.shape[axis]
    if length > 2 * size:
        # Whole pixels first: cheap, and what is left to interpolate is less than twice too fine.
        step = length // size
        used = length // step * step
        lines = np.moveaxis(picture, axis, 0)[:used]
        picture = np.moveaxis(lines.reshape(used // step, step, -1).mean(axis=1, dtype=np.float32), 0, axis)
        length = picture.shape[axis]
    shrink = length / size
    if shrink > 1:
        picture = ndimage.gaussian_filter1d(picture, 0.4 * (shrink - 1) + 0.2, axis, truncate=3)
    at = np.clip((np.arange(size) + 0.5) * shrink - 0.5, 0, length - 1)
    low = np.minimum(at.astype(int), max(length - 2, 0))
    part = (at - low).astype(np.float32)
    part = part[:, None] if axis == 0 else part[None, :]
    high = np.minimum(low + 1, length - 1)
    return np.asarray(picture.take(low, axis) * (1 - part) + picture.take(high, axis) * part, np.float32)


def by_rank(picture: Array) -> Array:
    """Each value replaced by the share of the picture's middle that is darker.

    So a film, a linear and a logarithmic detector give about the same picture, whatever window was chosen.
    """
    size = picture.shape[0]
    middle = np.sort(picture[size // 12 : -(size // 12), size // 12 : -(size // 12)], axis=None)
    marks = np.linspace(0, len(middle) - 1, _LEVELS // 4).astype(int)
    return np.interp(picture, *_strict(middle[marks], marks / (len(middle) - 1))).astype(np.float32)


def _strict(values: Array, shares: NDArray[np.float64]) -> tuple[Array, NDArray[np.float64]]:
    """One share for each value: the mean where many pixels share it."""
    unique, first, count = np.unique(values, return_index=True, return_counts=True)
    return unique, (shares[first] + shares[first + count - 1]) / 2
