"""Scenes on disk for training and phantoms for evaluation: one .npz each, made by seed, kept out of the repository.

python -m models.lung_nodule_ct.dataset --out DIR --split train --count 100 [--processes 2]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from models.lung_nodule_ct import scenes
from models.lung_nodule_ct.phantom import Nodule, Phantom, make_phantom
from models.lung_nodule_ct.phantom_style import HELD_OUT, TRAINING, varied

# The splits never share a seed. `train` are scenes, from which patches are drawn; the others are scans. `validation`
# and `test` have nodules, `mass_validation` also masses and what looks like one; every `varied_validation` chest has a
# style of its own; the held-out splits come from a generator with other parameters.
FIRST_SEED = {
    "train": 100_000,
    "validation": 4_000,
    "test": 5_000,
    "mass_validation": 14_000,
    "varied_validation": 16_000,
    "heldout": 20_000,
    "heldout_thick": 24_000,
}
THICK_MM = (3.75, 5.0, 8.0)
NATIVE_PIXEL_MM = 0.7


def phantom_of(split: str, index: int) -> Phantom:
    """Phantom `index` of a split, with the 0.7 mm pixels of a usual chest CT: it takes the whole serving path."""
    seed = FIRST_SEED[split] + index
    rng = np.random.default_rng([seed, 1])
    held_out = split.startswith("heldout")
    style = HELD_OUT if held_out else varied(rng) if split == "varied_validation" else TRAINING
    thickness = float(rng.choice(THICK_MM if split == "heldout_thick" else style.thickness_mm))
    # Every third held-out chest has a mass, every validation chest of masses has one; many nodules for each make
    # the few phantoms say more.
    crowded = held_out or split == "varied_validation"
    masses = int(index % 3 == 0) if crowded else int(split == "mass_validation")
    return make_phantom(
        seed,
        spacing_mm=(
            max(0.6, thickness if thickness > 3 else thickness * 0.8),
            NATIVE_PIXEL_MM,
            NATIVE_PIXEL_MM,
        ),
        slice_thickness_mm=thickness,
        nodule_count=int(rng.integers(4, 10)) if crowded else None,
        mass_count=masses,
        large_lookalikes=crowded or split == "mass_validation",
        style=style,
    )


def write(path: Path, phantom: Phantom) -> None:
    """Store a phantom; the file appears whole or not at all."""
    temporary = path.with_suffix(".part.npz")
    np.savez(
        temporary,
        voxels=phantom.voxels,
        spacing_mm=np.array(phantom.spacing_mm),
        centers=np.array([nodule.center_index for nodule in phantom.truth]).reshape(-1, 3),
        diameters_mm=np.array([nodule.diameter_mm for nodule in phantom.truth]),
        kinds=np.array([nodule.kind for nodule in phantom.truth], dtype="U16"),
        seed=phantom.seed,
        slice_thickness_mm=phantom.slice_thickness_mm,
        sharpness=phantom.sharpness,
        style=phantom.style,
    )
    temporary.rename(path)


def read(path: Path) -> Phantom:
    """The inverse of `write`."""
    with np.load(path) as stored:
        z, y, x = (float(step) for step in stored["spacing_mm"])
        rows = zip(stored["centers"], stored["diameters_mm"], stored["kinds"], strict=True)
        truth = tuple(
            Nodule((float(c[0]), float(c[1]), float(c[2])), float(diameter), str(kind))  # type: ignore[arg-type]
            for c, diameter, kind in rows
        )
        return Phantom(
            stored["voxels"], (z, y, x), truth, int(stored["seed"]), float(stored["slice_thickness_mm"]),
            float(stored["sharpness"]), str(stored["style"]),
        )  # fmt: skip


def _make(task: tuple[Path, str, int]) -> Path:
    folder, split, index = task
    path = folder / f"{split}_{FIRST_SEED[split] + index}.npz"
    if not path.exists():
        if split == "train":
            scenes.write(path, scenes.make_scene(FIRST_SEED[split] + index))
        else:
            write(path, phantom_of(split, index))
    return path


def generate(folder: Path, split: str, count: int, processes: int, first: int = 0) -> Iterator[Path]:
    """Make `count` phantoms of a split from index `first` on, skipping those already there."""
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(_make, [(folder, split, index) for index in range(first, first + count)])


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=sorted(FIRST_SEED), required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument(
        "--first", type=int, default=0, help="index of the first; its seed is that of the split more"
    )
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    made = sum(
        1 for _ in generate(options.out, options.split, options.count, options.processes, options.first)
    )
    parser.exit(message=f"{made} phantoms in {options.out}\n")


if __name__ == "__main__":
    main()
