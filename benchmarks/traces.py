"""When receivers start on a study, on the same made-up arrivals: too early, too often, how long too late.

Nothing is measured by a clock: a simulator runs the decision function of production and the rules of others, so the
figures are the same on every machine. `arrival_traces.py` makes the arrivals, `completeness_rules.py` has the rules.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import mean, median, quantiles
from typing import Any

from benchmarks.arrival_traces import HABITS, KNOWLEDGE, Knowledge, Trace, make_trace
from benchmarks.completeness_rules import (
    Habits,
    dcm4chee,
    inner_eye,
    mercure,
    monai,
    orthanc,
    radmeter,
)
from dicom_gateway.archive_memory import archive_fills
from dicom_gateway.arrival_evidence import CompletionPolicy
from dicom_gateway.quiet_time import QuietTime, learn
from dicom_gateway.step_habits import series_never_sent, series_not_sent, steps_list_less

SEED = 20261126
STUDIES_PER_SENDER = 60
# After so many nothing more is learned of a sender that changes the rules (`quiet_time`, `step_habits`).
UNKNOWN_STUDIES = 20
OTHERS = {
    "Orthanc (60 s)": orthanc,
    "MONAI (5 s)": monai,
    "mercure (60 s + 900 s)": mercure,
    "dcm4chee (MPPS, else 60 s)": dcm4chee,
    "InnerEye (association)": inner_eye,
}
# What a list can know: MPPS that names everything, counts of an archive that had the study before it sent it.
LISTED = ("mpps", "mpps late", "mpps lists more", "counts", "both")


@dataclass(frozen=True)
class Start:
    """What a rule made of one study. wait_s: from its last instance to the job that saw all of it."""

    is_early: bool
    job_count: int
    wait_s: float


def run(seed: int = SEED, studies_per_sender: int = STUDIES_PER_SENDER) -> dict[str, Any]:
    """By what is known of the study, for each rule: early starts, jobs for each study, extra wait."""
    starts: dict[str, dict[str, list[Start]]] = {}
    for knowledge in KNOWLEDGE:
        rules = starts.setdefault(knowledge, {name: [] for name in ("radmeter", *OTHERS)})
        for habit in HABITS:
            rng = random.Random(f"{seed} {knowledge} {habit}")
            sender = [make_trace(rng, knowledge, habit) for _ in range(studies_per_sender)]
            rules["radmeter"] += _with_learning(sender)
            for name, rule in OTHERS.items():
                rules[name] += [_start(trace, rule(trace)) for trace in sender]
    listed = [start for knowledge in LISTED for start in starts[knowledge]["radmeter"]]
    return {
        "seed": seed,
        "studies": sum(len(rules["radmeter"]) for rules in starts.values()),
        "radmeter, a list names everything": _summary(listed),
        **{
            f"known: {knowledge}": {name: _summary(made) for name, made in rules.items()}
            for knowledge, rules in starts.items()
        },
    }


def waits_s(
    knowledge: Knowledge, seed: int = SEED, studies_per_sender: int = STUDIES_PER_SENDER
) -> list[float]:
    """Seconds from the last instance to the job that saw all of it, of each study of which so much is known.

    Of senders as they are after a while: the first `UNKNOWN_STUDIES`, which teach what a sender does, are left out.
    """
    waits: list[float] = []
    for habit in HABITS:
        rng = random.Random(f"{seed} {knowledge} {habit}")
        sender = [make_trace(rng, knowledge, habit) for _ in range(studies_per_sender)]
        waits += [start.wait_s for start in _with_learning(sender)[UNKNOWN_STUDIES:]]
    return waits


def _with_learning(sender: Sequence[Trace]) -> list[Start]:
    """Study after study of one sender, each with the quiet time learned from those before it."""
    seen: list[Habits] = []
    starts = []
    policy = CompletionPolicy()
    for trace in sender:
        newest = seen[::-1]
        policy = replace(
            policy,
            quiet=learn([one.longest_pause_s for one in newest], QuietTime().seconds, policy.quiet_max_s),
            broken_quiet=learn(
                [one.broken_pause_s for one in newest if one.broken_pause_s is not None],
                QuietTime().seconds,
                policy.quiet_max_s,
            ),
            archive_fills=archive_fills([one.archive_grew for one in newest if one.archive_grew is not None]),
            steps_list_less=steps_list_less(
                [one.steps_listed_less for one in newest if one.steps_listed_less is not None]
            ),
            series_not_sent=series_not_sent(
                [one.series_not_sent for one in newest if one.series_not_sent is not None]
            ),
            series_never_sent=series_never_sent(
                [one.series_not_sent for one in newest if one.series_not_sent is not None]
            ),
        )
        jobs, habits = radmeter(trace, policy)
        starts.append(_start(trace, jobs))
        seen.append(habits)
    return starts


def _start(trace: Trace, jobs: list[float]) -> Start:
    """jobs: when the rule started one, in order. Those for what was added later are not counted."""
    jobs = sorted(jobs)
    whole = next(position for position, at_s in enumerate(jobs) if at_s >= trace.last_s)
    return Start(is_early=whole > 0, job_count=whole + 1, wait_s=jobs[whole] - trace.last_s)


def _summary(starts: Sequence[Start]) -> dict[str, float]:
    waits = [start.wait_s for start in starts]
    return {
        "early_starts_percent": 100 * mean(start.is_early for start in starts),
        "early_starts": sum(start.is_early for start in starts),
        "jobs_per_study": mean(start.job_count for start in starts),
        "wait_median_s": median(waits),
        "wait_p95_s": quantiles(waits, n=20)[-1],
    }
