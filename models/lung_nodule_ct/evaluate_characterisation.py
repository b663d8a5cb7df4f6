"""Measures what is said of a nodule once it is found, on synthetic nodules of known truth.

    python -m models.lung_nodule_ct.evaluate_characterisation --out characterisation.json

The nodules (seeds from 40000) are none that anything was chosen or mended on (seeds below 21000). Place and size
are handed over with errors like those of the detector: 0.4 mm in each direction, 8 % of the diameter.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.lung_nodule_ct.nodule_phantom import PLACES, NodulePhantom, Place, make_nodule
from models.ops.characterise import Detection, characterise
from models.ops.growth import Sized
from study.findings import Finding
from study.nodule import NoduleKind
from study.volume import Volume

FIRST_SEED = 40_000
SIZES_MM = (5.0, 8.0, 12.0, 20.0, 40.0)
SLICES_MM = (0.6, 1.0, 2.5, 5.0)
# A solid core and ground glass around it need some room.
PART_SOLID_MIN_MM = 8.0
SCANS = 4


@dataclass(frozen=True)
class Measured:
    """One nodule: what was true and what was said of it."""

    kind: NoduleKind
    size_mm: float
    slice_mm: float
    place: Place
    phantom: NodulePhantom
    finding: Finding
    seconds: float


def measure(
    seed: int, kind: NoduleKind, size_mm: float, slice_mm: float, place: Place, scan: int | None = None
) -> Measured:
    """Make one nodule, scan it and characterise it."""
    phantom = make_nodule(
        seed, kind.value, size_mm, spacing_mm=(slice_mm, 0.7, 0.7), place=place, noise_hu=25.0, scan_seed=scan
    )
    rng = np.random.default_rng((seed, round(10 * size_mm), round(10 * slice_mm), scan or 0))
    z, y, x = np.array(phantom.center_index) + rng.normal(0, 0.4, 3) / np.array(phantom.spacing_mm)
    diameter = phantom.truth.diameter_mm * (1 + rng.normal(0, 0.08))
    started = time.process_time()
    finding = characterise(_volume_of(phantom), Detection((z, y, x), diameter, 0.9), 1)
    seconds = time.process_time() - started
    return Measured(kind, size_mm, slice_mm, place, phantom, finding, seconds)


def _volume_of(phantom: NodulePhantom) -> Volume:
    z, y, x = phantom.spacing_mm
    affine = np.array([[0, 0, x, 0], [0, y, 0, 0], [z, 0, 0, 0], [0, 0, 0, 1]], np.float64)
    count = phantom.voxels.shape[0]
    uids = tuple(f"2.25.{number + 1}" for number in range(count))
    return Volume(phantom.voxels, affine, uids, (1,) * count, "2.25.1", "2.25.2", z)


def evaluate(repeats: int) -> dict[str, Any]:
    """The record: errors by kind, size, slice and place; repeatability beside what the intervals assume."""
    kinds = [
        (kind, size)
        for kind, size in itertools.product(NoduleKind, SIZES_MM)
        if kind is not NoduleKind.PART_SOLID or size >= PART_SOLID_MIN_MM
    ]
    found = [
        measure(FIRST_SEED + number, kind, size, slice_mm, place)
        for (kind, size), slice_mm, place, number in itertools.product(
            kinds, SLICES_MM, PLACES, range(repeats)
        )
    ]
    thin = [one for one in found if one.slice_mm <= 1.0]
    return {
        "what": "synthetic nodules made by models.lung_nodule_ct.nodule_phantom; says nothing about patients",
        "command": "python -m models.lung_nodule_ct.evaluate_characterisation --out characterisation.json",
        "nodules": len(found),
        "by_kind": {kind.value: _errors([one for one in found if one.kind is kind]) for kind in NoduleKind},
        "by_size_mm_on_slices_to_1_mm": {
            f"{size:g}": _errors([one for one in thin if one.size_mm == size]) for size in SIZES_MM
        },
        "by_slice_mm": {
            f"{slice_mm:g}": _errors([one for one in found if one.slice_mm == slice_mm])
            for slice_mm in SLICES_MM
        },
        "by_place_on_slices_to_1_mm": {
            place: _errors([one for one in thin if one.place == place]) for place in PLACES
        },
        "kind_confusion": _confusion(found),
        "repeatability": [
            _repeatability(size, slice_mm) for size in SIZES_MM[:4] for slice_mm in (1.0, 2.5, 5.0)
        ],
        "seconds_max": round(max(one.seconds for one in found), 2),
    }


def _errors(group: list[Measured]) -> dict[str, Any]:
    volume = np.array([100 * (one.finding.volume_mm3 / one.phantom.truth.volume_mm3 - 1) for one in group])
    diameter = np.array([one.finding.mean_diameter_mm - _true_mean(one) for one in group])
    said = [(one.kind, _kind(one)) for one in group]
    solid = [
        one.finding.nodule.solid_part_mm - one.phantom.truth.solid_part_mm
        for one in group
        if one.finding.nodule and one.finding.nodule.solid_part_mm and one.phantom.truth.solid_part_mm
    ]
    return {
        "nodules": len(group),
        "kind_right": round(float(np.mean([true == told for true, told in said])), 3),
        "kind_not_told": round(float(np.mean([told is None for _, told in said])), 3),
        "volume_error_percent_median": round(float(np.median(volume)), 1),
        "volume_error_percent_p10_p90": [round(float(value), 1) for value in np.percentile(volume, [10, 90])],
        "mean_diameter_error_mm": round(float(diameter.mean()), 2),
        "mean_diameter_absolute_error_mm": round(float(np.abs(diameter).mean()), 2),
        **({"solid_part_absolute_error_mm": round(float(np.abs(solid).mean()), 2)} if solid else {}),
    }


def _true_mean(one: Measured) -> float:
    return (one.phantom.truth.long_axis_mm + one.phantom.truth.short_axis_mm) / 2


def _kind(one: Measured) -> NoduleKind | None:
    return one.finding.nodule.kind if one.finding.nodule is not None else None


def _confusion(found: Iterable[Measured]) -> dict[str, dict[str, int]]:
    """True kind → kind told ("none" where it was not) → nodules."""
    table: dict[str, dict[str, int]] = {}
    for one in found:
        told = _kind(one)
        row = table.setdefault(one.kind.value, {})
        name = told.value if told is not None else "none"
        row[name] = row.get(name, 0) + 1
    return table


def _repeatability(size_mm: float, slice_mm: float) -> dict[str, float]:
    """Spread of the logarithm of the volume over scans of one solid nodule, beside what `Sized` assumes."""
    variances, assumed = [], []
    for number in range(SCANS):
        scans = [
            measure(FIRST_SEED + 500 + number, NoduleKind.SOLID, size_mm, slice_mm, "free", scan)
            for scan in range(SCANS)
        ]
        volumes = [one.finding.volume_mm3 for one in scans]
        variances.append(float(np.var(np.log(volumes), ddof=1)))
        assumed += [Sized(volume, slice_mm, NoduleKind.SOLID).volume_error for volume in volumes]
    return {
        "size_mm": size_mm,
        "slice_mm": slice_mm,
        "measured": round(math.sqrt(float(np.mean(variances))), 3),
        "assumed": round(float(np.mean(assumed)), 3),
    }


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=3, help="nodules of each kind, size, slice and place")
    options = parser.parse_args()
    options.out.write_text(json.dumps(evaluate(options.repeats), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
