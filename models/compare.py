"""The nodules of a chest CT beside those of an earlier one: matched, new, resolved, and how they grew."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from models.ops.characterise import Detection, characterise
from models.ops.growth import Sized, growth
from models.ops.register import Alignment, NotAligned, refine, register
from models.ops.segment_nodule import segment_nodule
from study.answer import Answer
from study.findings import Finding, Point
from study.nodule import Comparison, PriorRead, ResolvedNodule
from study.sentences import say
from study.volume import Volume

# Two findings are one nodule if they lie this near after alignment: the first is what is left of breathing where the
# surroundings were found again, the second where they were not.
NEAR_MM, NEAR_UNSURE_MM = 6.0, 15.0
ALIKE_MIN = 0.6
# What is measured at a place without a mark counts as a nodule if it is at least this large, beside the one looked for,
# and round; a vessel is long.
PROBED_MIN_MM, PROBED_SHARE_MIN = 3.0, 0.35
ROUND_MIN = 0.6


@dataclass(frozen=True)
class _Pair:
    """Both scans and how places go from one to the other."""

    current: Volume
    prior: Volume
    alignment: Alignment


def compare(
    answer: Answer, volume: Volume, prior_answer: Answer, prior_volume: Volume, *, date: str, prior_date: str
) -> Answer:
    """The answer with what became of each finding since the prior; dates are DA text (YYYYMMDD) or empty.

    A prior that cannot be laid upon the scan is a note, and nothing is compared. A place that the prior does not cover
    has no comparison. Raises nothing for what the scans hold.
    """
    if not answer.findings and not prior_answer.findings:
        return replace(answer, prior=PriorRead(prior_date, days_between(prior_date, date), 1.0))
    try:
        pair = _Pair(volume, prior_volume, register(volume, prior_volume))
    except NotAligned as error:
        return replace(answer, notes=(*answer.notes, say("NOT_COMPARED", why=error)))
    days = days_between(prior_date, date)
    places = [_place(pair, finding) for finding in answer.findings]
    matches = _match(answer.findings, places, prior_answer.findings)
    findings, notes = [], list(answer.notes)
    for number, finding in enumerate(answer.findings):
        then = prior_answer.findings[matches[number]] if number in matches else None
        comparison = _compare_one(pair, finding, places[number], then, days, prior_date)
        if comparison is None:
            notes.append(say("FINDING_NOT_COMPARED", n=finding.id))
        # One nodule has one Tracking UID over time: that of the first study that marked it.
        known = comparison.tracking_uid if comparison is not None else None
        findings.append(replace(finding, comparison=comparison, tracking_uid=known or finding.tracking_uid))
    gone, seen = _resolved(
        pair, [one for n, one in enumerate(prior_answer.findings) if n not in matches.values()]
    )
    if seen:
        notes.append(say("SEEN_NOT_MARKED", n=seen))
    prior = PriorRead(prior_date, days, round(pair.alignment.correlation, 3), gone)
    return replace(answer, findings=tuple(findings), notes=tuple(notes), prior=prior)


def days_between(earlier: str, later: str) -> int | None:
    """Days between two DA texts; None where one is no date."""
    try:
        first, second = (date(int(one[:4]), int(one[4:6]), int(one[6:8])) for one in (earlier, later))
    except ValueError:
        return None
    return (second - first).days


@dataclass(frozen=True)
class _Place:
    """Where a finding's nodule would lie in the other scan; is_sure: its surroundings were found again."""

    point: NDArray[np.float64]
    is_sure: bool


def _place(pair: _Pair, finding: Finding) -> _Place:
    point, alike = refine(pair.alignment, pair.current, pair.prior, np.array(finding.center_lps_mm))
    if alike < ALIKE_MIN:
        return _Place(pair.alignment.to_prior(np.array(finding.center_lps_mm)), is_sure=False)
    return _Place(point, is_sure=True)


def _match(
    findings: Sequence[Finding], places: Sequence[_Place], priors: Sequence[Finding]
) -> dict[int, int]:
    """Index of the finding → index of the prior finding, so that the sum of distances is least."""
    if not findings or not priors:
        return {}
    far = 1e6
    costs = np.full((len(findings), len(priors)), far)
    for row, (finding, place) in enumerate(zip(findings, places, strict=True)):
        for column, then in enumerate(priors):
            reach = NEAR_MM if place.is_sure else NEAR_UNSURE_MM
            reach = max(reach, finding.mean_diameter_mm / 2, then.mean_diameter_mm / 2)
            distance = float(np.linalg.norm(place.point - then.center_lps_mm))
            if distance <= reach:
                costs[row, column] = distance
    rows, columns = optimize.linear_sum_assignment(costs)
    return {int(r): int(c) for r, c in zip(rows, columns, strict=True) if costs[r, c] < far}


def _compare_one(
    pair: _Pair, finding: Finding, place: _Place, then: Finding | None, days: int | None, prior_date: str
) -> Comparison | None:
    was_marked = then is not None
    if then is None:
        if not _covers(pair.prior, place.point):
            return None
        then = _probe(pair.prior, place.point, finding.mean_diameter_mm)
    if then is None:
        return Comparison("new", prior_date, days, center_lps_mm=_point(place.point))
    return Comparison(
        state="matched",
        study_date=prior_date,
        days=days,
        mean_diameter_mm=then.mean_diameter_mm,
        volume_mm3=then.volume_mm3,
        tracking_uid=then.tracking_uid if was_marked else None,
        was_marked=was_marked,
        growth=growth(_sized(finding, pair.current), _sized(then, pair.prior), days),
        center_lps_mm=then.center_lps_mm,
    )


def _sized(finding: Finding, volume: Volume) -> Sized:
    kind = finding.nodule.kind if finding.nodule is not None else None
    return Sized(finding.volume_mm3, max(volume.slice_thickness_mm or 0.0, volume.spacing_mm[0]), kind)


def _covers(volume: Volume, point: NDArray[np.float64]) -> bool:
    index = volume.to_index(point)
    return bool(((index >= 0) & (index <= np.array(volume.voxels.shape) - 1)).all())


def _probe(volume: Volume, point: NDArray[np.float64], diameter_mm: float) -> Finding | None:
    """The nodule at a place that the model did not mark; None where nothing round and large enough stands out."""
    index = volume.to_index(point)
    region = segment_nodule(volume.voxels, volume.spacing_mm, index, diameter_mm)
    if region.threshold_hu is None:
        return None
    spacing = np.array(volume.spacing_mm)
    size = math.cbrt(6 * float(region.mask.sum()) * float(spacing.prod()) / math.pi)
    longest = float((np.array(region.mask.shape) * spacing).max())
    middle = (np.argwhere(region.mask).mean(axis=0) + region.origin - index) * spacing
    is_near = float(np.linalg.norm(middle)) <= 2 + 0.35 * diameter_mm
    if size < max(PROBED_MIN_MM, PROBED_SHARE_MIN * diameter_mm) or size / longest < ROUND_MIN or not is_near:
        return None
    z, y, x = (float(value) for value in index)
    return characterise(volume, Detection((z, y, x), diameter_mm, 0.0), 1)


def _resolved(pair: _Pair, priors: Sequence[Finding]) -> tuple[tuple[ResolvedNodule, ...], int]:
    """The prior findings whose place shows nothing now, and how many places still show something unmarked."""
    gone, seen = [], 0
    back = pair.alignment.inverse()
    for then in priors:
        point, alike = refine(back, pair.prior, pair.current, np.array(then.center_lps_mm))
        if alike < ALIKE_MIN:
            point = back.to_prior(np.array(then.center_lps_mm))
        if not _covers(pair.current, point):
            continue
        if _probe(pair.current, point, then.mean_diameter_mm) is not None:
            seen += 1
            continue
        lobe = then.nodule.lobe if then.nodule is not None else None
        gone.append(
            ResolvedNodule(then.tracking_uid, _point(point), then.mean_diameter_mm, then.volume_mm3, lobe)
        )
    return tuple(gone), seen


def _point(point: NDArray[np.float64]) -> Point:
    x, y, z = (float(value) for value in point)
    return x, y, z
