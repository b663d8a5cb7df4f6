"""Free-response ROC: sensitivity against false positives per scan, as LUNA16 counts them.

A detection hits a nodule when its centre lies within the nodule's radius (Setio et al. 2017,
doi:10.1016/j.media.2017.06.015). Of several hits on one nodule the best counts, the others are
neither hit nor false positive. Intervals resample scans, for the nodules of one scan are not independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.evaluation.bootstrap import REPEATS, Estimate, from_draws

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
    """A true nodule of a scan and the best detection that hit it, None where it was missed."""

    truth: Real
    hit: Marked | None
    scan: int

    @property
    def score(self) -> float:
        """The hit's score; a missed nodule has none that any threshold lets through."""
        return self.hit.score if self.hit else -np.inf


@dataclass(frozen=True)
class Matches:
    """All scans of an evaluation together.

    false_positive_scores: of each detection that hit nothing; false_positive_scans: its scan's number.
    """

    scans: int
    nodules: tuple[Match, ...]
    false_positive_scores: NDArray[np.float64]
    false_positive_scans: NDArray[np.intp]

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
        """Detections at or above the threshold that hit nothing, for each scan; NaN of no scan."""
        found = int((self.false_positive_scores >= threshold).sum())
        return found / self.scans if self.scans else float("nan")

    def froc(self) -> dict[float, float]:
        """Sensitivity at each of `RATES`."""
        return {rate: self.sensitivity(self.threshold_at(rate)) for rate in RATES}

    def cpm(self) -> float:
        """LUNA16's competition performance metric: the mean of `froc`."""
        return float(np.mean(list(self.froc().values())))

    def only(self, scans: frozenset[int]) -> Matches:
        """The same of some scans, numbered anew."""
        number = {scan: new for new, scan in enumerate(sorted(scans))}
        keep = np.array([scan in scans for scan in self.false_positive_scans.tolist()], np.bool_)
        return Matches(
            len(scans),
            tuple(Match(m.truth, m.hit, number[m.scan]) for m in self.nodules if m.scan in scans),
            self.false_positive_scores[keep],
            np.array([number[scan] for scan in self.false_positive_scans[keep].tolist()], np.intp),
        )

    def of_nodules(self, keep: Sequence[Match]) -> Matches:
        """The same scans and false positives with these nodules alone: the FROC of a kind or a size."""
        return Matches(self.scans, tuple(keep), self.false_positive_scores, self.false_positive_scans)


@dataclass(frozen=True)
class FrocInterval:
    """Sensitivity at each of `RATES`, and CPM, with their intervals over scans."""

    sensitivity: dict[float, Estimate]
    cpm: Estimate


def froc_interval(matches: Matches, *, seed: int = 0, repeats: int = REPEATS) -> FrocInterval:
    """FROC of `repeats` samples of the scans with replacement."""
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(matches.scans, np.full(matches.scans, 1 / matches.scans), repeats)
    draws = np.array([_weighted_froc(matches, weight) for weight in weights])
    froc = matches.froc()
    columns = zip(froc.items(), draws.T, strict=True)
    at_rate = {rate: from_draws(value, column, matches.scans) for (rate, value), column in columns}
    return FrocInterval(at_rate, from_draws(matches.cpm(), draws.mean(axis=1), matches.scans))


def interval_at(matches: Matches, threshold: float, *, seed: int = 0) -> tuple[Estimate, Estimate]:
    """Sensitivity and false positives per scan at a threshold, with intervals over scans."""
    nodule_scans = np.array([m.scan for m in matches.nodules], np.intp)
    hit = np.array([m.score >= threshold for m in matches.nodules], np.bool_)
    false_scans = matches.false_positive_scans[matches.false_positive_scores >= threshold]
    per_scan = [
        np.bincount(scans, minlength=matches.scans)
        for scans in (nodule_scans, nodule_scans[hit], false_scans)
    ]
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(matches.scans, np.full(matches.scans, 1 / max(matches.scans, 1)), REPEATS)
    nodules, hits, false = (weights @ counts for counts in per_scan)
    with np.errstate(invalid="ignore"):
        shares = hits / nodules
    return (
        from_draws(matches.sensitivity(threshold), shares, matches.scans),
        from_draws(matches.false_positives_per_scan(threshold), false / max(matches.scans, 1), matches.scans),
    )


def _weighted_froc(matches: Matches, weight: NDArray[np.int64]) -> list[float]:
    """`Matches.froc` where scan i came weight[i] times."""
    order = np.argsort(-matches.false_positive_scores, kind="stable")
    scores = matches.false_positive_scores[order]
    seen = np.cumsum(weight[matches.false_positive_scans[order]])
    nodule_weight = weight[[m.scan for m in matches.nodules]] if matches.nodules else np.zeros(0)
    if not nodule_weight.sum():
        return [float("nan")] * len(RATES)
    nodule_scores = np.array([m.score for m in matches.nodules])
    found = []
    for rate in RATES:
        first = int(np.searchsorted(seen, np.floor(rate * matches.scans), side="right"))
        threshold = np.nextafter(scores[first], np.inf) if first < len(scores) else 0.0
        found.append(float(nodule_weight[nodule_scores >= threshold].sum() / nodule_weight.sum()))
    return found


def match(scans: Sequence[tuple[Sequence[Marked], Sequence[Real]]]) -> Matches:
    """Match the detections of each scan with its nodules."""
    nodules: list[Match] = []
    false_scores: list[float] = []
    false_scans: list[int] = []
    for scan, (detections, truths) in enumerate(scans):
        best: list[Marked | None] = [None] * len(truths)
        for detection in sorted(detections, key=lambda d: -d.score):
            distances = [float(np.linalg.norm(np.subtract(detection.center_mm, t.center_mm))) for t in truths]
            hits = [i for i, truth in enumerate(truths) if distances[i] <= truth.diameter_mm / 2]
            if not hits:
                false_scores.append(detection.score)
                false_scans.append(scan)
                continue
            nearest = min(hits, key=lambda i: distances[i])
            if best[nearest] is None:
                best[nearest] = detection
        nodules.extend(Match(truth, hit, scan) for truth, hit in zip(truths, best, strict=True))
    return Matches(len(scans), tuple(nodules), np.array(false_scores), np.array(false_scans, np.intp))
