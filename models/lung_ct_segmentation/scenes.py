"""Training phantoms as the graph will see chests: cut to the lungs' box and spoiled like a scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.lung_ct_segmentation.dataset import JITTER, read
from models.lung_ct_segmentation.lobes import LOBES
from models.lung_ct_segmentation.preprocess import SIDE_MIN, SIDE_MULTIPLE


def draw(rng: np.random.Generator, data: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """HU of one training phantom with noise and blur, and its `shares`; sometimes only part of the lungs is in it.

    Reads one file of `data`, to which phantoms may be added meanwhile.
    """
    paths = sorted(data.glob("train_*[0-9].npz"))
    if not paths:
        raise FileNotFoundError(
            f"no train_*.npz in {data}: make them with models.lung_ct_segmentation.dataset"
        )
    phantom = read(paths[rng.integers(len(paths))])
    window = []
    for length, cut in zip(phantom.voxels.shape, (0.35, 0.06, 0.06), strict=True):
        start, side = int(rng.integers(2 * JITTER + 1)), length - 2 * JITTER
        if rng.random() < cut and side > SIDE_MIN:
            kept = SIDE_MULTIPLE * int(rng.integers(2, side // SIDE_MULTIPLE))
            start, side = start + int(rng.integers(2)) * (side - kept), kept
        window.append(slice(start, start + side))
    box = tuple(window)
    return _spoil(rng, phantom.voxels[box].astype(np.float32)), shares(phantom.labels[box])


def shares(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How much of each voxel of twice the size each label fills: (label, slice, row, column)."""
    counts = []
    for label in range(len(LOBES) + 1):
        count = (labels == label).view(np.uint8)
        for axis in range(3):
            pairs = np.moveaxis(count, axis, 0)
            count = np.moveaxis(pairs[0::2] + pairs[1::2], 0, axis)
        counts.append(count)
    return np.stack(counts).astype(np.float32) / np.float32(8)


def _spoil(rng: np.random.Generator, hu: NDArray[np.float32]) -> NDArray[np.float32]:
    if rng.random() < 0.6:
        hu = ndimage.gaussian_filter1d(hu, rng.uniform(0.1, 0.9), axis=0, truncate=3)
    if rng.random() < 0.5:
        soft = ndimage.gaussian_filter(hu, (0, rng.uniform(0.3, 0.8), rng.uniform(0.3, 0.8)), truncate=2.5)
        hu = soft if rng.random() < 0.6 else hu + (hu - soft) * np.float32(rng.uniform(0, 0.8))
    hu = hu * np.float32(rng.uniform(0.96, 1.04)) + np.float32(rng.normal(0, 18))
    noise = rng.standard_normal(hu.shape, dtype=np.float32)
    if rng.random() < 0.5:
        noise = ndimage.gaussian_filter(noise, (0.3, 0.6, 0.6), truncate=2)
        noise /= noise[::4].std()
    level = rng.uniform(2, 25) if rng.random() < 0.85 else rng.uniform(25, 70)
    return np.asarray(hu + noise * np.float32(level), np.float32)
