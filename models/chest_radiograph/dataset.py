"""Synthetic radiographs on disk for training and evaluation: one .npz for each patient, made by seed.

python -m models.chest_radiograph.dataset --out DIR --split train --count 500 [--first 0]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.chest_radiograph.phantom import SIZE_PX, Picture, draw_findings, make_patient, take_frontal
from models.chest_radiograph.phantom_body import HELD_OUT, TRAINING
from models.chest_radiograph.phantom_others import MAKERS
from models.chest_radiograph.postprocess import FINDINGS, KINDS

# The splits never share a seed; the test patients come from a generator with other parameters.
FIRST_SEED = {"train": 100_000, "validation": 200_000, "test": 300_000}
FRONTAL_COUNT = 6
OTHER_COUNT = 2
MASK_PX = 72


@dataclass(frozen=True)
class Batch:
    """All pictures of some patients.

    pixels: float32 (picture, SIZE_PX, SIZE_PX) in [0, 1]. labels: bool (picture, finding). kinds: index into
    KINDS, (picture,). masks: bool (picture, finding, MASK_PX, MASK_PX). facts: for each picture.
    """

    pixels: NDArray[np.float16]
    labels: NDArray[np.bool_]
    kinds: NDArray[np.int64]
    masks: NDArray[np.bool_]
    facts: list[dict[str, float | str]]


def pictures_of(split: str, index: int) -> list[Picture]:
    """The pictures of patient number `index` of a split."""
    rng = np.random.default_rng(FIRST_SEED[split] + index)
    patient = make_patient(rng, HELD_OUT if split == "test" else TRAINING)
    pictures = [take_frontal(rng, patient, draw_findings(rng)) for _ in range(FRONTAL_COUNT)]
    others = rng.choice(KINDS[1:], OTHER_COUNT, p=[0.3, 0.1, 0.1, 0.15, 0.35])
    return pictures + [MAKERS[str(kind)](rng, patient) for kind in others]


def write(path: Path, pictures: list[Picture]) -> None:
    """Store the pictures; the file appears whole or not at all."""
    temporary = path.with_suffix(".part.npz")
    pixels = np.stack([_unit(picture.pixels) for picture in pictures])
    np.savez_compressed(
        temporary,
        pixels=np.rint(pixels * 65535).astype(np.uint16),
        labels=np.array([[name in picture.findings for name in FINDINGS] for picture in pictures]),
        kinds=np.array([KINDS.index(picture.kind) for picture in pictures]),
        masks=np.packbits(np.stack([_small(picture.masks) for picture in pictures])),
        facts=np.array([json.dumps(picture.facts) for picture in pictures]),
    )
    temporary.rename(path)


def read(folder: Path, split: str, count: int | None = None) -> Batch:
    """All (or the first `count`) patients of a split that lie in `folder`."""
    pixels: list[NDArray[np.float16]] = []
    labels: list[NDArray[np.bool_]] = []
    kinds: list[NDArray[np.int64]] = []
    masks: list[NDArray[np.bool_]] = []
    facts: list[dict[str, float | str]] = []
    for path in sorted(folder.glob(f"{split}_*[0-9].npz"))[:count]:
        with np.load(path) as stored:
            pixels.append((stored["pixels"] / np.float32(65535)).astype(np.float16))
            labels.append(stored["labels"])
            kinds.append(stored["kinds"])
            shape = (len(kinds[-1]), len(FINDINGS), MASK_PX, MASK_PX)
            bits = np.unpackbits(stored["masks"], count=int(np.prod(shape)))
            masks.append(bits.reshape(shape).astype(np.bool_))
            facts += [json.loads(str(text)) for text in stored["facts"]]
    joined = np.concatenate(pixels), np.concatenate(labels), np.concatenate(kinds), np.concatenate(masks)
    return Batch(*joined, facts)


def _unit(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = float(pixels.min()), float(pixels.max())
    return (pixels - low) / (high - low + 1e-6)


def _small(masks: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    if masks is None:
        return np.zeros((len(FINDINGS), MASK_PX, MASK_PX), np.bool_)
    step = SIZE_PX // MASK_PX
    cells = masks.reshape(len(FINDINGS), MASK_PX, step, MASK_PX, step)
    return np.asarray(cells.any(axis=(2, 4)), np.bool_)


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", choices=sorted(FIRST_SEED), required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for index in range(options.first, options.first + options.count):
        path = options.out / f"{options.split}_{FIRST_SEED[options.split] + index}.npz"
        if not path.exists():
            write(path, pictures_of(options.split, index))
    parser.exit(message=f"{options.count} patients in {options.out}\n")


if __name__ == "__main__":
    main()
