"""Free-response ROC: sensitivity against false positives per scan, as LUNA16 counts them.

A detection hits a nodule when its centre lies within the nodule's radius (Setio et al. 2017,
doi:10.1016/j.media.2017.06.015). Of several hits on one nodule the best counts, the others are
neither hit nor false positive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Marked:
    """One detection: centre in mm, diameter in mm, score."""

    center_mm: tuple[float, float, float]
    diameter_mm: float
    score: float


@dataclass(frozen=True)
class Real:
    """One true nodule: centre in mm, diameter in mm, kind."""

    center_mm: tuple[float, float, float]
    diameter_mm: float
    kind: str


@dataclass(frozen=True)
class Match:
    """A true nodule and the best detection that hit it, None where it was missed."""

    truth: Real
    hit: Marked | None

    @property
    def score(self) -> float:
        """The hit's score; a missed nodule has none that any threshold lets through."""
        return self.hit.score if self.hit else -np.inf


@dataclass(frozen=True)
class Matches:
    """All scans of an evaluation together."""

    scans: int
    nodules: tuple[Match, ...]
    false_positive_scores: NDArray[np.float64]

    def threshold_at(self, rate: float) -> float:
        """The lowest threshold with at most `rate` false positives per scan."""
        scores = np.sort(self.false_positive_scores)[::-1]
        allowed = int(np.floor(rate * self.scans))
        return float(np.nextafter(scores[allowed], np.inf)) if allowed < len(scores) else 0.0

    def sensitivity(self, threshold: float, nodules: Sequence[Match] | None = None) -> float:
        """Share of the nodules hit with at least this score; NaN of none."""
        chosen = self.nodules if nodules is None else nodules
        return float(np.mean([match.score >= threshold for match in chosen])) if chosen else float("nan")

    def false_positives_per_scan(self, threshold: float) -> float:
        """Detections at or above the threshold that hit nothing, for each scan."""
        return float((self.false_positive_scores >= threshold).sum() / self.scans)

    def froc(self) -> dict[float, float]:
        """Sensitivity at each of `RATES`."""
        return {rate: self.sensitivity(self.threshold_at(rate)) for rate in RATES}


def match(scans: Sequence[tuple[Sequence[Marked], Sequence[Real]]]) -> Matches:
    """Match the detections of each scan with its nodules."""
    nodules: list[Match] = []
    false_scores: list[float] = []
    for detections, truths in scans:
        best: list[Marked | None] = [None] * len(truths)
        for detection in sorted(detections, key=lambda d: -d.score):
            distances = [float(np.linalg.norm(np.subtract(detection.center_mm, t.center_mm))) for t in truths]
            hits = [i for i, truth in enumerate(truths) if distances[i] <= truth.diameter_mm / 2]
            if not hits:
                false_scores.append(detection.score)
                continue
            nearest = min(hits, key=lambda i: distances[i])
            if best[nearest] is None:
                best[nearest] = detection
        nodules.extend(Match(truth, hit) for truth, hit in zip(truths, best, strict=True))
    return Matches(len(scans), tuple(nodules), np.array(false_scores))
