"""What was measured of a model at its operating point: of its evaluation file, in the parts that a report tells."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from models.manifest import Manifest

_FILE_BYTES_MAX = 4 << 20
# What was held out says more than what chose the operating point.
_PARTS = ("heldout", "test", "validation")
# A threshold that differs from the measured one by no more than its rounding is the same.
_SAME_THRESHOLD = 0.002
_MARKS_MIN = 10


@dataclass(frozen=True)
class ScoreBand:
    """Marks of the tests with a score of at least `score_min`, below that of the band above.

    right_share: of `count` marks the share that was a lesion.
    """

    score_min: float
    right_share: float
    count: int


@dataclass(frozen=True)
class OperatingPoint:
    """data: what the tests were made on, in the words of their file; image_count of them.

    on_patients: whether the file says that they were scans of people.
    sensitivity, false_per_image: at the threshold in use; None where the model was measured at another.
    bands: highest first. labels: by the label of a statement its (threshold, sensitivity, specificity).
    """

    data: str
    image_count: int
    sensitivity: float | None = None
    false_per_image: float | None = None
    bands: tuple[ScoreBand, ...] = ()
    labels: tuple[tuple[str, float, float, float], ...] = ()
    on_patients: bool = False

    def band_of(self, score: float) -> ScoreBand | None:
        """Where a score lies; None below what was measured."""
        return next((band for band in self.bands if score >= band.score_min), None)

    def label(self, name: str, threshold: float) -> tuple[float, float] | None:
        """(sensitivity, specificity) of a statement; None where it was measured at another threshold."""
        for label, measured, sensitivity, specificity in self.labels:
            if label == name and abs(measured - threshold) <= _SAME_THRESHOLD:
                return sensitivity, specificity
        return None

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> OperatingPoint:
        """The inverse of `asdict`."""
        bands = tuple(ScoreBand(**band) for band in record["bands"])
        labels = tuple((str(one[0]), one[1], one[2], one[3]) for one in record["labels"])
        return cls(**{**record, "bands": bands, "labels": labels})


def operating_point(manifest: Manifest) -> OperatingPoint | None:
    """Of the model's evaluation file; None where it has none, or one of another layout: then nothing is claimed."""
    if not manifest.evaluation_file:
        return None
    return _read(manifest.folder / manifest.evaluation_file, manifest.operating_threshold)


@lru_cache(maxsize=32)
def _read(path: Path, threshold: float) -> OperatingPoint | None:
    try:
        if path.stat().st_size > _FILE_BYTES_MAX:
            return None
        record = json.loads(path.read_text("utf-8"))
        part = next(record[name] for name in _PARTS if name in record)
        point = _point(record, part, threshold)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration):
        return None
    return point


def _point(record: dict[str, Any], part: dict[str, Any], threshold: float) -> OperatingPoint | None:
    data, image_count = str(record["what"])[:400], int(part["images"])
    on_patients = record.get("on_patients") is True
    if "classification" in part:
        labels = part["classification"]["labels"].items()
        return OperatingPoint(
            data,
            image_count,
            labels=tuple(
                (
                    str(name)[:80],
                    _number(one["threshold"]),
                    _share(one["sensitivity"]["value"]),
                    _share(one["specificity"]["value"]),
                )
                for name, one in labels
            ),
            on_patients=on_patients,
        )
    if "detection" not in part:
        return None
    found = part["detection"]
    measured = found["at_operating_point"]
    is_same = abs(_number(measured["threshold"]) - threshold) <= _SAME_THRESHOLD
    return OperatingPoint(
        data,
        image_count,
        _share(measured["sensitivity"]["value"]) if is_same else None,
        _number(measured["false_positives_per_scan"]["value"]) if is_same else None,
        _bands(found, image_count),
        on_patients=on_patients,
    )


def _bands(found: dict[str, Any], image_count: int) -> tuple[ScoreBand, ...]:
    """Between two points of the FROC curve lie so many lesions found and so many false marks: the share of those with
    such a score that was right. Bands with few marks are joined with the next lower one."""
    sensitivity = found["sensitivity_at_false_positives_per_scan"]
    thresholds = found["threshold_at_false_positives_per_scan"]
    bands: list[ScoreBand] = []
    right_done = wrong_done = 0.0
    for rate in sorted(sensitivity, key=float):
        right = _share(sensitivity[rate]["value"]) * int(found["lesions"]) - right_done
        wrong = _number(float(rate)) * image_count - wrong_done
        if right + wrong < _MARKS_MIN:
            continue
        right_done, wrong_done = right_done + right, wrong_done + wrong
        share = max(0.0, right) / (max(0.0, right) + wrong)
        bands.append(ScoreBand(_number(thresholds[rate]), share, round(max(0.0, right) + wrong)))
    return tuple(bands)


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def _share(value: Any) -> float:
    number = _number(value)
    if not 0.0 <= number <= 1.0:
        raise ValueError("not a share")
    return number
