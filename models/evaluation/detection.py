"""How well lesions are found: FROC, sensitivity by size, kind and scan, errors of place and size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from models.evaluation import plots
from models.evaluation.bootstrap import Estimate, median, wilson
from models.evaluation.froc import RATES, Marked, Match, Matches, froc_interval, interval_at, match
from models.evaluation.sample import Nodules
from models.evaluation.subgroups import Facts, Group, table
from study.answer import Answer


@dataclass(frozen=True)
class DetectionCase:
    """One scan: the marks that count, its lesions, what is known of it."""

    marks: tuple[Marked, ...]
    truth: Nodules
    facts: Facts


def case_of(answer: Answer, truth: Nodules, facts: Facts) -> DetectionCase:
    """The findings as marks, without those in places that are to be ignored."""
    marks = (Marked(f.center_lps_mm, f.mean_diameter_mm, f.score) for f in answer.findings)
    return DetectionCase(tuple(mark for mark in marks if not _is_ignored(mark, truth)), truth, facts)


def _is_ignored(mark: Marked, truth: Nodules) -> bool:
    def hits(place: Any) -> bool:
        return bool(np.linalg.norm(np.subtract(mark.center_mm, place.center_mm)) <= place.diameter_mm / 2)

    return any(map(hits, truth.ignored)) and not any(map(hits, truth.lesions))


def matches_of(cases: Sequence[DetectionCase]) -> Matches:
    """All scans of a split."""
    return match([(case.marks, case.truth.lesions) for case in cases])


def record(cases: Sequence[DetectionCase], threshold: float) -> dict[str, Any]:
    """The figures of one split as plain values; `threshold` is the operating point of the model."""
    matches = matches_of(cases)
    froc = froc_interval(matches)
    sensitivity, false = interval_at(matches, threshold)
    hits = [(m.truth, m.hit) for m in matches.nodules if m.hit and m.score >= threshold]
    centers = [float(np.linalg.norm(np.subtract(t.center_mm, h.center_mm))) for t, h in hits]
    sizes = [abs(t.diameter_mm - h.diameter_mm) for t, h in hits]
    return {
        "hit_rule": "centre within the lesion's radius (LUNA16); intervals are 95 %, by resampling scans",
        "scans": matches.scans,
        "lesions": len(matches.nodules),
        "cpm": froc.cpm.as_json(),
        "sensitivity_at_false_positives_per_scan": {
            f"{rate:g}": found.as_json() for rate, found in froc.sensitivity.items()
        },
        "at_operating_point": {
            "threshold": threshold,
            "sensitivity": sensitivity.as_json(),
            "false_positives_per_scan": false.as_json(),
        },
        "threshold_at_false_positives_per_scan": {
            f"{rate:g}": round(matches.threshold_at(rate), 4) for rate in RATES
        },
        "center_error_mm": median(np.array(centers)).as_json(),
        "diameter_error_mm": median(np.array(sizes)).as_json(),
        "by_group_at_operating_point": [group.as_json() for group in by_lesion(matches, cases, threshold)],
        "by_group_at_1_false_positive_per_scan": [
            group.as_json() for group in by_lesion(matches, cases, matches.threshold_at(1.0))
        ],
        "false_positives_by_scan_group": [group.as_json() for group in by_scan(matches, cases, threshold)],
    }


def by_lesion(matches: Matches, cases: Sequence[DetectionCase], threshold: float) -> tuple[Group, ...]:
    """Sensitivity by what is known of the lesion and of its scan, with Wilson's interval over lesions."""
    hit = np.array([m.score >= threshold for m in matches.nodules], np.bool_)

    def measure(index: NDArray[np.intp]) -> Estimate:
        return wilson(int(hit[index].sum()), len(index))

    return table([_lesion_facts(m, cases) for m in matches.nodules], measure)


def _lesion_facts(one: Match, cases: Sequence[DetectionCase]) -> Facts:
    size, kind = one.truth.diameter_mm, one.truth.kind
    kinds = {"kind": kind, "kind_from_6_mm": kind if size >= 6 else "under 6 mm"} if kind else {}
    return {"diameter_mm": size, **kinds, **cases[one.scan].facts}


def by_scan(matches: Matches, cases: Sequence[DetectionCase], threshold: float) -> tuple[Group, ...]:
    """False positives per scan by what is known of the scan."""

    def measure(index: NDArray[np.intp]) -> Estimate:
        return interval_at(matches.only(frozenset(index.tolist())), threshold)[1]

    return table([case.facts for case in cases], measure)


def draw(splits: Mapping[str, Sequence[DetectionCase]], threshold: float, name: str) -> dict[str, Figure]:
    """The plots of all splits together, by the name of their file."""
    matched = {split: matches_of(cases) for split, cases in splits.items()}
    shown = {split: found for split, found in matched.items() if found.nodules}
    figures = {
        "froc": plots.froc(
            {s: froc_interval(found) for s, found in shown.items()}, f"{name}: FROC, 95 % bands"
        )
    }
    for split, found in shown.items():
        parts = by_lesion(found, splits[split], threshold)
        title = f"{name}, {split}: sensitivity at threshold {threshold:g}"
        figures[f"groups_{split}"] = plots.groups(parts, title, "sensitivity, 95 % interval")
    every = [one for found in matched.values() for one in found.nodules if one.hit]
    false = [score for found in matched.values() for score in found.false_positive_scores]
    by_kind = {"lesions": np.array([one.score for one in every]), "false marks": np.array(false)}
    figures["scores"] = plots.scores(by_kind, threshold, f"{name}: scores")
    return figures
