"""How well statements about whole images are told apart and whether their probabilities are honest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from models.evaluation import calibration, plots
from models.evaluation.auc import at_threshold, auc, roc
from models.evaluation.bootstrap import Estimate
from models.evaluation.sample import Labels
from models.evaluation.subgroups import Facts, Group, table
from study.answer import Answer


@dataclass(frozen=True)
class ClassificationCase:
    """One image: label → (probability, threshold, whether it is so), for the labels whose truth is known."""

    statements: Mapping[str, tuple[float, float, bool]]
    facts: Facts


def case_of(answer: Answer, truth: Labels, facts: Facts) -> ClassificationCase:
    """What was said of each label whose truth is known."""
    said = {one.label: one for one in answer.classifications}
    shared = [label for label in truth.present if label in said]
    return ClassificationCase(
        {one: (said[one].probability, said[one].threshold, truth.present[one]) for one in shared}, facts
    )


@dataclass(frozen=True)
class _Label:
    """The cases of one label in columns."""

    probabilities: NDArray[np.float64]
    truths: NDArray[np.bool_]
    threshold: float
    facts: list[Facts]


def _columns(cases: Sequence[ClassificationCase]) -> dict[str, _Label]:
    found: dict[str, _Label] = {}
    for label in sorted({label for case in cases for label in case.statements}):
        chosen = [case for case in cases if label in case.statements]
        probabilities, thresholds, truths = zip(*(case.statements[label] for case in chosen), strict=True)
        facts = [case.facts for case in chosen]
        found[label] = _Label(np.array(probabilities), np.array(truths, np.bool_), thresholds[0], facts)
    return found


def record(cases: Sequence[ClassificationCase]) -> dict[str, Any]:
    """The figures of one split as plain values, one entry for each label."""
    labels = _columns(cases)
    areas = [auc(one.probabilities, one.truths).value for one in labels.values()]
    return {
        "intervals": "95 %: DeLong for areas, Wilson for shares, the bootstrap for Brier scores",
        "images": len(cases),
        "mean_auc": round(float(np.nanmean(areas)), 4) if np.isfinite(areas).any() else None,
        "labels": {label: _label_record(one) for label, one in labels.items()},
    }


def _label_record(one: _Label) -> dict[str, Any]:
    point = at_threshold(one.probabilities, one.truths, one.threshold)
    both = one.truths.any() and not one.truths.all()
    slope = calibration.calibration_slope(one.probabilities, one.truths)[0] if both else None
    return {
        "positives": int(one.truths.sum()),
        "auc": auc(one.probabilities, one.truths).as_json(),
        "threshold": one.threshold,
        "sensitivity": point.sensitivity.as_json(),
        "specificity": point.specificity.as_json(),
        "expected_calibration_error": round(
            calibration.expected_calibration_error(one.probabilities, one.truths), 4
        ),
        "calibration_slope": round(slope, 3) if slope is not None else None,
        "brier": calibration.brier_interval(one.probabilities, one.truths).as_json(),
        "auc_by_group": [group.as_json() for group in _by_group(one)],
    }


def _by_group(one: _Label) -> tuple[Group, ...]:
    def measure(index: NDArray[np.intp]) -> Estimate:
        return auc(one.probabilities[index], one.truths[index])

    return table(one.facts, measure)


def draw(splits: Mapping[str, Sequence[ClassificationCase]], name: str) -> dict[str, Figure]:
    """ROC and reliability curves of each split, by the name of their file."""
    figures: dict[str, Figure] = {}
    for split, cases in splits.items():
        labels = {label: one for label, one in _columns(cases).items() if one.truths.any()}
        if not labels:
            continue
        curves = {
            label: (*roc(one.probabilities, one.truths), auc(one.probabilities, one.truths))
            for label, one in labels.items()
        }
        figures[f"roc_{split}"] = plots.roc(curves, f"{name}, {split}: ROC")
        bins = {
            label: calibration.reliability(one.probabilities, one.truths) for label, one in labels.items()
        }
        figures[f"reliability_{split}"] = plots.reliability(bins, f"{name}, {split}: reliability")
    return figures
