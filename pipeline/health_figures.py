"""What the counts of a model at a site come to: shares, drift, latency, concordance, calibration, groups.

Pure. Counts are (dimension, value) → number, added over days; see `health_tally` for what is counted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

from models.evaluation.bootstrap import Estimate, wilson
from models.evaluation.drift import Drift, drift

Counts = Mapping[str, Mapping[str, int]]

# Groups of patients with fewer studies are not shown: k-anonymity.
SMALLEST_GROUP = 10
INPUTS = ("thickness", "slices", "kernel", "vendor")
GROUPS = ("sex", "age")
NO_FINDING = "none"
# Upper edges of the latency buckets in seconds, each half as much again as the one before.
LATENCY_EDGES_S = tuple(round(0.01 * 1.5**step, 4) for step in range(28))


@dataclass(frozen=True)
class Key:
    """One version of a product at one site; the empty site is that of peers without one."""

    product: str
    version: str
    site: str

    def __str__(self) -> str:
        return f"{self.product} {self.version or '?'}" + (f" @ {self.site}" if self.site else "")


@dataclass(frozen=True)
class Window:
    """Days of UTC, both ends included, and what was counted in them."""

    first: date
    last: date
    counts: Counts = field(default_factory=dict)

    def of(self, dimension: str) -> Mapping[str, int]:
        """value → number."""
        return self.counts.get(dimension, {})

    def number(self, dimension: str, value: str) -> int:
        """How often the value came."""
        return self.of(dimension).get(value, 0)

    @property
    def completed(self) -> int:
        """Studies with a result."""
        return self.number("status", "completed")

    @property
    def attempts(self) -> int:
        """Studies that were to be analysed: with a result, refused or failed."""
        return sum(self.of("status").values())

    def share(self, dimension: str, value: str) -> Estimate:
        """Of all values of the dimension, with Wilson's interval."""
        return wilson(self.number(dimension, value), sum(self.of(dimension).values()))

    @property
    def concordance(self) -> Estimate:
        """Share of the verdicts that accept the result; results without a verdict do not count."""
        accepted = self.number("verdict", "accepted")
        return wilson(accepted, accepted + self.number("verdict", "rejected"))

    def said_dimensions(self) -> list[str]:
        """The dimensions of scores: `score`, or `score:label` for each label."""
        return sorted(name for name in self.counts if name.split(":")[0] == "score")

    def steps(self) -> list[str]:
        """The steps whose latency was measured."""
        return sorted(name.split(":")[1] for name in self.counts if name.startswith("latency:"))

    def latency_s(self, step: str, quantile: float) -> float:
        """Seconds that this share of the runs did not exceed: the upper edge of its bucket; NaN of none."""
        buckets = {float(edge): count for edge, count in self.of(f"latency:{step}").items()}
        left = quantile * sum(buckets.values())
        for edge in sorted(buckets):
            left -= buckets[edge]
            if left <= 1e-9:
                return edge
        return math.nan


def latency_bucket(seconds: float) -> str:
    """The upper edge of the bucket, as it is stored."""
    return f"{next((edge for edge in LATENCY_EDGES_S if seconds <= edge), LATENCY_EDGES_S[-1]):g}"


def score_bin(score: float | None) -> str:
    """The tenth that a score lies in, by its lower edge; `none` where there was nothing to score."""
    return NO_FINDING if score is None else f"{min(int(score * 10), 9) / 10:.1f}"


@dataclass(frozen=True)
class Said:
    """The positive results of one tenth of the scores that got a verdict: the middle of the tenth, share accepted."""

    said: float
    accepted: Estimate


def calibration(window: Window) -> list[Said]:
    """What the verdicts made of each tenth of the scores; a tenth without verdicts is left out."""
    found = []
    for value in sorted(window.of("said_accepted").keys() | window.of("said_rejected").keys()):
        accepted = window.number("said_accepted", value)
        count = accepted + window.number("said_rejected", value)
        found.append(Said(float(value) + 0.05, wilson(accepted, count)))
    return found


def calibration_error(window: Window) -> Estimate:
    """Mean of what was said minus the share that was accepted, over positive results with a verdict.

    The interval is that of the accepted share alone.
    """
    tenths = calibration(window)
    count = sum(one.accepted.count for one in tenths)
    if not count:
        return Estimate(math.nan, math.nan, math.nan, 0)
    said = sum(one.said * one.accepted.count for one in tenths) / count
    accepted = wilson(round(sum(one.accepted.value * one.accepted.count for one in tenths)), count)
    return Estimate(said - accepted.value, said - accepted.high, said - accepted.low, count)


@dataclass(frozen=True)
class GroupRow:
    """One group of patients. positive: share of results with a finding; concordance: of its verdicts.

    Hidden groups have fewer than `SMALLEST_GROUP` studies: their figures are not given, nor their number.
    """

    fact: str
    value: str
    count: int | None
    positive: Estimate | None
    concordance: Estimate | None

    @property
    def is_hidden(self) -> bool:
        return self.count is None


def group_rows(window: Window) -> list[GroupRow]:
    """Sex and age bands; where one single group would be hidden, the next smallest is hidden with it.

    Else its number would follow from the total.
    """
    found: list[GroupRow] = []
    for fact in GROUPS:
        counts = dict(window.of(fact))
        small = {value for value, count in counts.items() if count < SMALLEST_GROUP}
        if len(small) == 1 and len(counts) > 1:
            small.add(min(counts.keys() - small, key=lambda value: counts[value]))
        for value in sorted(counts):
            found.append(
                GroupRow(fact, value, None, None, None)
                if value in small
                else GroupRow(fact, value, counts[value], *_group_shares(window, fact, value, counts[value]))
            )
    return found


def judged_groups(window: Window) -> list[tuple[str, str, Estimate]]:
    """(fact, value, what verdicts accepted) of every group, hidden or not: for rules, which name none of few cases."""
    return [
        (fact, value, _group_shares(window, fact, value, count)[1])
        for fact in GROUPS
        for value, count in sorted(window.of(fact).items())
    ]


def _group_shares(window: Window, fact: str, value: str, count: int) -> tuple[Estimate, Estimate]:
    accepted = window.number(f"{fact}_accepted", value)
    judged = accepted + window.number(f"{fact}_rejected", value)
    return wilson(window.number(f"{fact}_positive", value), count), wilson(accepted, judged)


@dataclass(frozen=True)
class Health:
    """Now against before. before: the reference window, None while there is none."""

    key: Key
    now: Window
    before: Window | None

    def drift_of(self, dimension: str) -> Drift | None:
        """None where there is no reference or nothing was counted."""
        if self.before is None or not self.before.of(dimension) or not self.now.of(dimension):
            return None
        return drift(self.before.of(dimension), self.now.of(dimension))

    def metrics(self) -> Iterator[tuple[str, str, float]]:
        """(metric, of what, value) of every figure that exists."""
        now = self.now
        rows: list[tuple[str, str, float]] = [
            ("completed", "", now.completed),
            ("refused_share", "", now.share("status", "refused").value),
            ("failed_share", "", now.share("status", "failed").value),
            ("positive_share", "", now.share("positive", "yes").value),
            ("accepted_share", "", now.concordance.value),
            ("verdicts", "", now.concordance.count),
            ("calibration_gap", "", calibration_error(now).value),
        ]
        rows += [("latency_p50_s", step, now.latency_s(step, 0.5)) for step in now.steps()]
        rows += [("latency_p95_s", step, now.latency_s(step, 0.95)) for step in now.steps()]
        for dimension in (*now.said_dimensions(), *INPUTS):
            found = self.drift_of(dimension)
            if found is not None:
                rows.append(("psi", dimension, found.psi))
        return ((name, of, float(value)) for name, of, value in rows if math.isfinite(value))


def add_up(rows: Iterable[tuple[str, str, int]]) -> Counts:
    """(dimension, value, count) → counts."""
    found: dict[str, Counter[str]] = {}
    for dimension, value, count in rows:
        found.setdefault(dimension, Counter())[value] += count
    return found
