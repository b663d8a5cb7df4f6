"""When a model's figures are worth a person's look, and when the model is paused.

Every rule needs a smallest number of cases and that chance alone would hardly do it: ALPHA is strict because each rule
is asked each day of each model and site. `docs/monitoring.md` tells each with its reason and its limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations

from models.evaluation.drift import shares_differ
from pipeline.health_figures import INPUTS, Health, Window, calibration_error, judged_groups

ALPHA = 1e-4


@dataclass(frozen=True)
class Bounds:
    """What the rules go by; shares in [0, 1].

    studies_min, verdicts_min, group_min: fewer cases say nothing. failures_min: the same for failures, of which a few
    tell much. volume_share: less than this share of what usually comes.
    """

    studies_min: int = 50
    verdicts_min: int = 30
    group_min: int = 30
    failures_min: int = 20
    psi: float = 0.2
    share_change: float = 0.1
    failed_share: float = 0.05
    failed_share_stop: float = 0.5
    accepted_share: float = 0.7
    accepted_share_stop: float = 0.5
    calibration_gap: float = 0.2
    group_gap: float = 0.15
    latency_ratio: float = 3.0
    volume_share: float = 0.25
    volume_a_week_min: float = 35.0


@dataclass(frozen=True)
class Alarm:
    """What a rule found. rule: its name, with the dimension it looked at; stops: whether the model is to be paused."""

    rule: str
    sentence: str
    stops: bool = False


Rule = Callable[[Health, Bounds], Iterator[Alarm]]


def find_alarms(health: Health, bounds: Bounds | None = None) -> tuple[Alarm, ...]:
    """What every rule says of these figures."""
    return tuple(alarm for rule in RULES for alarm in rule(health, bounds or Bounds()))


def _score_drift(health: Health, bounds: Bounds) -> Iterator[Alarm]:
    for dimension in health.now.said_dimensions():
        yield from _drift(health, bounds, "score_drift", dimension, "the distribution of scores")


def _input_drift(health: Health, bounds: Bounds) -> Iterator[Alarm]:
    for dimension in INPUTS:
        yield from _drift(health, bounds, "input_drift", dimension, f"what comes in ({dimension})")


def _drift(health: Health, bounds: Bounds, rule: str, dimension: str, what: str) -> Iterator[Alarm]:
    found = health.drift_of(dimension)
    if found is None or min(found.before, found.now) < bounds.studies_min:
        return
    if found.psi >= bounds.psi and found.p_value < ALPHA:
        yield Alarm(
            f"{rule}:{dimension}",
            f"{what} has changed: PSI {found.psi:.2f} over {found.now} studies against {found.before} of the reference",
        )


def _positive_rate(health: Health, bounds: Bounds) -> Iterator[Alarm]:
    yield from _changed_share(health, bounds, "positive_rate", ("positive", "yes"), "results with a finding")


def _refusal_rate(health: Health, bounds: Bounds) -> Iterator[Alarm]:
    yield from _changed_share(health, bounds, "refusal_rate", ("status", "refused"), "refused studies")


def _changed_share(
    health: Health, bounds: Bounds, rule: str, what: tuple[str, str], words: str
) -> Iterator[Alarm]:
    if health.before is None:
        return
    now, before = health.now.share(*what), health.before.share(*what)
    if min(now.count, before.count) < bounds.studies_min:
        return
    pairs = [
        (window.number(*what), share.count) for window, share in ((health.before, before), (health.now, now))
    ]
    if abs(now.value - before.value) >= bounds.share_change and shares_differ(*pairs) < ALPHA:
        yield Alarm(
            rule,
            f"{words}: {now.value:.0%} of {now.count}, in the reference {before.value:.0%} of {before.count}",
        )


def _failures(health: Health, bounds: Bounds) -> Iterator[Alarm]:
    """Wilson's lower end, so that a few failures of a few studies are not enough."""
    share = health.now.share("status", "failed")
    if share.count >= bounds.failures_min and share.low > bounds.failed_share:
        stops = share.low > bounds.failed_share_stop
        yield Alarm("failure_rate", f"{share.value:.0%} of {share.count} studies failed", stops)


def _concordance(health: Health, bounds: Bounds) -> Iterator[Alarm]:
    share = health.now.concordance
    if share.count >= bounds.verdicts_min and share.high < bounds.accepted_share:
        stops = share.high < bounds.accepted_share_stop
        yield Alarm("concordance", f"{share.value:.0%} of {share.count} verdicts accept the result", stops)


def _calibration(health: Health, bounds: Bounds) -> Iterator[Alarm]:
    gap = calibration_error(health.now)
    is_sure = gap.low > bounds.calibration_gap or gap.high < -bounds.calibration_gap
    if gap.count >= bounds.verdicts_min and is_sure:
        yield Alarm(
            "calibration", f"scores are {gap.value:+.2f} above the share that {gap.count} verdicts accepted"
        )


def _fairness(health: Health, bounds: Bounds) -> Iterator[Alarm]:
    """Verdicts of groups against one another; shares of positives differ between groups by nature and raise nothing.

    The sentence has no numbers of cases: beside the total they would tell that of a group too small to be shown.
    """
    groups = [one for one in judged_groups(health.now) if one[2].count >= bounds.group_min]
    for (fact, first, one), (other_fact, second, other) in combinations(groups, 2):
        if fact != other_fact or abs(one.value - other.value) < bounds.group_gap:
            continue
        pairs = [(round(share.value * share.count), share.count) for share in (one, other)]
        if shares_differ(*pairs) < ALPHA:
            yield Alarm(
                f"fairness:{fact}",
                f"verdicts accept {one.value:.0%} in {fact} {first}, {other.value:.0%} in {second},"
                f" each of at least {bounds.group_min}",
            )


def _latency(health: Health, bounds: Bounds) -> Iterator[Alarm]:
    before = health.before
    if before is None:
        return
    for step in health.now.steps():
        # A step may be younger than the reference: one that needs a supporting model, or a delivery.
        if (
            min(sum(window.of(f"latency:{step}").values()) for window in (health.now, before))
            < bounds.studies_min
        ):
            continue
        was, now = before.latency_s(step, 0.95), health.now.latency_s(step, 0.95)
        # Steps of a tenth of a second and less are the machine's noise.
        if now > max(0.1, bounds.latency_ratio * was):
            yield Alarm(
                f"latency:{step}", f"the step {step} takes {now:.1f} s (95 %), in the reference {was:.1f} s"
            )


def _volume(health: Health, bounds: Bounds) -> Iterator[Alarm]:
    if health.before is None:
        return
    usual, now = (_a_week(window) for window in (health.before, health.now))
    if usual >= bounds.volume_a_week_min and now < bounds.volume_share * usual:
        yield Alarm("volume", f"{now:.0f} studies a week, in the reference {usual:.0f}")


def _a_week(window: Window) -> float:
    return 7 * window.attempts / ((window.last - window.first).days + 1)


RULES: tuple[Rule, ...] = (
    _score_drift, _input_drift, _positive_rate, _refusal_rate, _failures, _concordance, _calibration, _fairness,
    _latency, _volume,
)  # fmt: skip
