"""How well structures are drawn: Dice and distance of surfaces, for each structure and each part of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from models.evaluation import plots
from models.evaluation.bootstrap import Estimate, median
from models.evaluation.dice import dice, surface_distance
from models.evaluation.sample import LabelMap
from models.evaluation.subgroups import Facts, table
from study.answer import Answer
from study.volume import Volume


@dataclass(frozen=True)
class Overlap:
    """One structure of one image. Distances are infinite where it was missed or does not exist."""

    dice: float
    mean_mm: float
    p95_mm: float


@dataclass(frozen=True)
class SegmentationCase:
    """One image: how well each structure of the truth was drawn."""

    overlaps: Mapping[str, Overlap]
    facts: Facts


def case_of(answer: Answer, truth: LabelMap, image: Volume, facts: Facts) -> SegmentationCase:
    """Every structure of the truth against the segment of that label; a structure that is in neither is left out."""
    segments = {one.label: one.segment for one in answer.structures}
    overlaps = {}
    for label, value in truth.names.items():
        real = truth.voxels == value
        drawn = np.zeros(real.shape, np.bool_)
        if label in segments:
            one = segments[label]
            box = tuple(slice(o, o + n) for o, n in zip(one.origin, one.mask.shape, strict=True))
            drawn[box] = one.mask
        if real.any() or drawn.any():
            far = surface_distance(drawn, real, image.spacing_mm)
            overlaps[label] = Overlap(dice(drawn, real), far.mean_mm, far.p95_mm)
    return SegmentationCase(overlaps, facts)


def record(cases: Sequence[SegmentationCase]) -> dict[str, Any]:
    """The figures of one split as plain values: medians over images, and the worst image."""
    labels = sorted({label for case in cases for label in case.overlaps})
    return {
        "intervals": "95 %, by resampling images",
        "images": len(cases),
        "structures": {label: _label_record(label, cases) for label in labels},
    }


def _label_record(label: str, cases: Sequence[SegmentationCase]) -> dict[str, Any]:
    chosen = [case for case in cases if label in case.overlaps]
    found = [case.overlaps[label] for case in chosen]
    shares = np.array([one.dice for one in found])

    def measure(index: NDArray[np.intp]) -> Estimate:
        return median(shares[index])

    return {
        "images": len(found),
        "missed": sum(one.dice == 0 for one in found),
        "dice": median(shares).as_json(),
        "dice_worst": round(float(shares.min()), 4),
        "surface_distance_mm": _finite([one.mean_mm for one in found]),
        "surface_distance_p95_mm": _finite([one.p95_mm for one in found]),
        "dice_by_group": [group.as_json() for group in table([case.facts for case in chosen], measure)],
    }


def _finite(values: Sequence[float]) -> dict[str, float | int | None]:
    """The median of those that exist; `missed` tells how many do not."""
    return median(np.array([value for value in values if np.isfinite(value)])).as_json()


def draw(splits: Mapping[str, Sequence[SegmentationCase]], name: str) -> dict[str, Figure]:
    """Box plots of Dice and of the 95th percentile of surface distance, by the name of their file."""
    figures: dict[str, Figure] = {}
    for split, cases in splits.items():
        labels = sorted({label for case in cases for label in case.overlaps})
        found = {one: [case.overlaps[one] for case in cases if one in case.overlaps] for one in labels}
        if not found:
            continue
        shares = {label: np.array([one.dice for one in ones]) for label, ones in found.items()}
        figures[f"dice_{split}"] = plots.boxes(shares, f"{name}, {split}: Dice", "Dice")
        far = {
            label: np.array([one.p95_mm for one in ones if np.isfinite(one.p95_mm)])
            for label, ones in found.items()
        }
        figures[f"surface_{split}"] = plots.boxes(
            far, f"{name}, {split}: distance of surfaces", "95th percentile, mm"
        )
    return figures
