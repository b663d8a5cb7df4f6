"""Phantoms on disk for training and evaluation: one .npz each, made by seed, kept out of the repository.

python -m models.lung_ct_segmentation.dataset --out DIR --split train --count 500 [--processes 2]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from models.errors import LungsNotFound
from models.lung_ct_segmentation.phantom import Phantom, make_phantom
from models.lung_ct_segmentation.phantom_style import HELD_OUT, TRAIN
from models.lung_ct_segmentation.preprocess import lung_box
from models.ops.lung_mask import find_lungs
from models.ops.orientation import Orientation

# The splits never share a seed. Training phantoms are made on the graph's own grid; the others take the
# whole way from a scanner with slices of 0.6 to 5 mm through the serving path.
FIRST_SEED = {"train": 100_000, "validation": 140_000, "test": 150_000}
TRAIN_GRID_MM = 3.0
JITTER = 3
THICKNESS_MM = (0.6, 1.0, 1.0, 1.5, 2.0, 3.0, 5.0)


def phantom_of(split: str, index: int) -> Phantom:
    """Phantom number `index` of a split; only `test` has the generator's held-out parameters."""
    seed = FIRST_SEED[split] + index
    if split == "train":
        return cut_to_lungs(make_phantom(seed, style=TRAIN, grid_mm=TRAIN_GRID_MM))
    thickness = float(np.random.default_rng([seed, 1]).choice(THICKNESS_MM))
    style = TRAIN if split == "validation" else HELD_OUT
    return make_phantom(seed, style=style, grid_mm=1.0, slice_thickness_mm=thickness)


def cut_to_lungs(phantom: Phantom) -> Phantom:
    """The box of a phantom on the graph's grid that serving would cut, widened by `JITTER` voxels."""
    spacing = phantom.spacing_mm
    lungs = find_lungs(phantom.voxels, spacing)
    if lungs is None:
        raise LungsNotFound
    standing = Orientation((0, 1, 2), (False, False, False))
    box = lung_box(lungs, phantom.voxels.shape, spacing, spacing, standing)
    low = np.floor(box.start_index).astype(int) - JITTER
    high = low + np.array(box.shape) + 2 * JITTER
    inside = tuple(slice(max(int(a), 0), int(b)) for a, b in zip(low, high, strict=True))
    pad = [
        (max(-int(a), 0), max(int(b) - n, 0)) for a, b, n in zip(low, high, phantom.voxels.shape, strict=True)
    ]
    voxels = np.pad(phantom.voxels[inside], pad, "edge")
    return Phantom(voxels, np.pad(phantom.labels[inside], pad), spacing, phantom.seed)


def write(path: Path, phantom: Phantom) -> None:
    """Store a phantom; the file appears whole or not at all."""
    temporary = path.with_suffix(".part.npz")
    np.savez(temporary, voxels=phantom.voxels, labels=phantom.labels,
             spacing_mm=np.array(phantom.spacing_mm), seed=phantom.seed)  # fmt: skip
    temporary.rename(path)


def read(path: Path) -> Phantom:
    """The inverse of `write`."""
    with np.load(path) as stored:
        z, y, x = (float(step) for step in stored["spacing_mm"])
        return Phantom(stored["voxels"], stored["labels"], (z, y, x), int(stored["seed"]))


def _make(task: tuple[Path, str, int]) -> Path:
    folder, split, index = task
    path = folder / f"{split}_{FIRST_SEED[split] + index}.npz"
    if not path.exists():
        write(path, phantom_of(split, index))
    return path


def generate(folder: Path, split: str, count: int, processes: int) -> Iterator[Path]:
    """Make the first `count` phantoms of a split, skipping those already there."""
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(_make, [(folder, split, index) for index in range(count)])


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=sorted(FIRST_SEED), required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    made = sum(1 for _ in generate(options.out, options.split, options.count, options.processes))
    parser.exit(message=f"{made} phantoms in {options.out}\n")


if __name__ == "__main__":
    main()
