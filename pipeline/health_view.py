"""The figures of a model at a site as rows of words, the same for the page and for the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from models.evaluation.bootstrap import Estimate
from pipeline.health_figures import INPUTS, Health, Window, calibration_error

NOTHING = "—"
Shown = Callable[[Window], str]


@dataclass(frozen=True)
class FigureRow:
    """name: English, the key of its translation. of: a step, a label or a dimension, not translated; may be empty.

    now, before: what it is, ready to read. rule: the name with which an alarm about it begins.
    """

    name: str
    of: str
    now: str
    before: str
    rule: str


def figure_rows(health: Health) -> list[FigureRow]:
    """Every figure of the present window beside that of the reference."""
    rows = [
        _row(health, "Results", "", lambda window: str(window.completed), "volume"),
        _row(health, "Refused", "", lambda window: share(window.share("status", "refused")), "refusal_rate"),
        _row(health, "Failed", "", lambda window: share(window.share("status", "failed")), "failure_rate"),
        _row(
            health,
            "With a finding",
            "",
            lambda window: share(window.share("positive", "yes")),
            "positive_rate",
        ),
        _row(health, "Accepted by verdicts", "", lambda window: share(window.concordance), "concordance"),
        _row(
            health, "Score above what was accepted", "", lambda w: signed(calibration_error(w)), "calibration"
        ),
    ]
    steps = sorted({*health.now.steps(), *(health.before.steps() if health.before else ())})
    rows += [
        _row(health, "Seconds, half and 95 %", step, partial(_latency, step), f"latency:{step}")
        for step in steps
    ]
    for dimension in (*health.now.said_dimensions(), *INPUTS):
        found = health.drift_of(dimension)
        rule = "input_drift" if dimension in INPUTS else "score_drift"
        of = dimension.removeprefix("score:") if dimension != "score" else ""
        name = "Drift of input (PSI)" if dimension in INPUTS else "Drift of scores (PSI)"
        now = (
            NOTHING
            if found is None or math.isnan(found.psi)
            else f"{found.psi:.2f} (p = {found.p_value:.2g})"
        )
        rows.append(FigureRow(name, of, now, NOTHING, f"{rule}:{dimension}"))
    return rows


def _row(health: Health, name: str, of: str, shown: Shown, rule: str) -> FigureRow:
    before = NOTHING if health.before is None else shown(health.before)
    return FigureRow(name, of, shown(health.now), before, rule)


def share(estimate: Estimate) -> str:
    """A share in percent with its 95 % interval and of how many."""
    if not estimate.count:
        return NOTHING
    low, high = 100 * estimate.low, 100 * estimate.high
    return f"{100 * estimate.value:.1f} % ({low:.0f}–{high:.0f}), n = {estimate.count}"


def signed(estimate: Estimate) -> str:
    """A difference with its sign, its interval and of how many."""
    if not estimate.count:
        return NOTHING
    return f"{estimate.value:+.2f} ({estimate.low:+.2f} – {estimate.high:+.2f}), n = {estimate.count}"


def _latency(step: str, window: Window) -> str:
    half, most = window.latency_s(step, 0.5), window.latency_s(step, 0.95)
    return NOTHING if math.isnan(half) else f"{half:.2g} / {most:.2g}"
