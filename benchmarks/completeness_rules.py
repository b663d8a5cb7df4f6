"""When receivers start on a study: the rules of others, and radmeter's own decision function, on one trace.

Each rule gives the moments at which it starts a job for the study, from what it has seen by then.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from benchmarks.arrival_traces import Instance, Trace
from dicom_gateway.archive_memory import ArchiveMemory
from dicom_gateway.arrival_evidence import (
    ArrivalEvidence,
    AssociationState,
    CompletionPolicy,
    Counts,
    SeriesEvidence,
)
from dicom_gateway.assemble import Verdict, decide
from dicom_gateway.quiet_time import PAUSE_MAX_S
from dicom_gateway.series_gaps import SLICES_MIN, longest_pause_s, missing_slices
from study.study import Instance as Header
from study.study import Series

Rule = Callable[[Trace], list[float]]

# A question to an archive and its answer, measured against Orthanc on loopback and rounded up.
_ANSWER_S = 0.15
_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def after_silence(trace: Trace, quiet_s: float, *, counts_again: bool) -> list[float]:
    """A job when nothing came for `quiet_s`. counts_again: an instance that was there already begins it anew."""
    times = [one.at_s for one in trace.stored if counts_again or not one.is_again]
    following = [*times[1:], float("inf")]
    return [at_s + quiet_s for at_s, then_s in zip(times, following, strict=True) if then_s - at_s > quiet_s]


def monai(trace: Trace) -> list[float]:
    """MONAI Deploy Informatics Gateway: 5 s without an instance of the payload."""
    return after_silence(trace, 5.0, counts_again=True)


def orthanc(trace: Trace) -> list[float]:
    """Orthanc: StableAge 60 s; an instance that is stored already changes nothing."""
    return after_silence(trace, 60.0, counts_again=False)


def mercure(trace: Trace) -> list[float]:
    """mercure: each series 60 s after its last instance, the study 900 s after its last series."""
    return after_silence(trace, 960.0, counts_again=True)


def inner_eye(trace: Trace) -> list[float]:
    """InnerEye gateway: each association is a case."""
    return [one.closed_at_s for one in trace.associations]


def dcm4chee(trace: Trace) -> list[float]:
    """dcm4chee: when everything is here that the completed MPPS lists; else 60 s of silence."""
    silent = after_silence(trace, 60.0, counts_again=True)
    if trace.step is None:
        return silent
    first = {one.instance: one.at_s for one in reversed(trace.stored)}
    if not trace.step.listed <= first.keys():
        return [max(at_s, trace.step.completed_at_s + 60.0) for at_s in silent]
    done_s = max(trace.step.completed_at_s, *(first[one] for one in trace.step.listed))
    return [done_s, *(at_s for at_s in silent if at_s - 60.0 > done_s)]


@dataclass(frozen=True)
class Habits:
    """What a study teaches about its sender, as `pipeline.pauses` keeps it.

    broken_pause_s: None where no association broke off.
    archive_grew: None where the archive was not asked. steps_listed_less, series_not_sent: None without MPPS.
    """

    longest_pause_s: float
    broken_pause_s: float | None
    archive_grew: bool | None
    steps_listed_less: bool | None
    series_not_sent: int | None


def radmeter(trace: Trace, policy: CompletionPolicy) -> tuple[list[float], Habits]:
    """`dicom_gateway.assemble.decide`, looked at when the pipeline looks: on changes and when it asked to.

    Also what the next studies of the sender are judged by.
    """
    looks = _Looks(trace, policy)
    jobs = looks.run()
    grew = looks.first_grew if trace.in_archive_at_s else None
    arrived = [
        (one.at_s, f"1.{one.instance.series}", _header(one.instance))
        for one in trace.stored
        if not one.is_again
    ]
    sent = {one.instance.series for one in trace.stored}
    absent = len({one.series for one in trace.step.listed} - sent) if trace.step is not None else None
    broken = [one.closed_at_s for one in trace.associations if one.how == "aborted"]
    healthy_s = longest_pause_s(arrived, PAUSE_MAX_S, broken)
    return jobs, Habits(healthy_s, _broken_pause_s(trace, broken), grew, _listed_less(trace), absent)


def _broken_pause_s(trace: Trace, broken: list[float]) -> float | None:
    """The longest pause in which an association broke off."""
    pairs = itertools.pairwise(one.at_s for one in trace.stored if not one.is_again)
    pauses = [
        then_s - at_s
        for at_s, then_s in pairs
        if then_s - at_s <= PAUSE_MAX_S and any(at_s <= broken_s < then_s for broken_s in broken)
    ]
    return max(pauses, default=0.0) if broken else None


def _listed_less(trace: Trace) -> bool | None:
    """Whether something came that MPPS does not list, before a pause that no sender makes."""
    if trace.step is None:
        return None
    pairs = itertools.pairwise(one for one in trace.stored if not one.is_again)
    near = itertools.takewhile(lambda pair: pair[1].at_s - pair[0].at_s <= PAUSE_MAX_S, pairs)
    return any(then.instance not in trace.step.listed for _, then in near)


@dataclass
class _Looks:
    """One study at radmeter. `pending`: (time, order, what) of what is to happen beside instances."""

    trace: Trace
    policy: CompletionPolicy
    here: set[Instance] = field(default_factory=set)
    jobs: list[float] = field(default_factory=list)
    pending: list[tuple[float, int, str]] = field(default_factory=list)
    arrival_count: int = 0
    new_count: int = 0
    last_s: float = 0.0
    association: int = 0
    asked_after_s: float = -1.0
    answered_s: float = -1.0
    archive: ArchiveMemory = field(default_factory=ArchiveMemory)
    read_count: int = -1
    missing: dict[int, int] = field(default_factory=dict)
    first_grew: bool = False

    def run(self) -> list[float]:
        for one in self.trace.associations:
            self._plan(one.closed_at_s, "look")
        if self.trace.step is not None:
            self._plan(self.trace.step.completed_at_s, "look")
        for stored in self.trace.stored:
            self._until(stored.at_s)
            is_new_arrival = self.arrival_count == 0
            self.arrival_count += 1
            self.new_count += stored.instance not in self.here
            self.here.add(stored.instance)
            self.last_s, self.association = stored.at_s, stored.association
            if is_new_arrival:
                self._look(stored.at_s)
        self._until(float("inf"))
        return self.jobs

    def _plan(self, at_s: float, what: str) -> None:
        heapq.heappush(self.pending, (at_s, len(self.pending), what))

    def _until(self, end_s: float) -> None:
        while self.pending and self.pending[0][0] < end_s:
            at_s, _, what = heapq.heappop(self.pending)
            if self.arrival_count == 0:
                continue
            if what == "answer":
                counts = self._archive_counts(at_s)
                self.archive = self.archive.after(counts)
                self.answered_s = at_s
            self._look(at_s)

    def _look(self, now_s: float) -> None:
        if self.trace.in_archive_at_s and self.asked_after_s != self.last_s:
            self.asked_after_s = self.last_s
            self._plan(now_s + _ANSWER_S, "answer")
        decision = decide(self._evidence(now_s), self.policy)
        if decision.verdict is Verdict.READ_HEADERS:
            self._read_headers()
            decision = decide(self._evidence(now_s), self.policy)
        if decision.look_again_s is not None:
            if not any(now_s < at_s <= now_s + decision.look_again_s for at_s, _, _ in self.pending):
                self._plan(now_s + decision.look_again_s, "look")
            return
        if self.new_count:
            if not self.jobs:
                self.first_grew = self.archive.grew
            self.jobs.append(now_s)
        self.arrival_count = self.new_count = 0
        self.archive, self.asked_after_s, self.answered_s = ArchiveMemory(), -1.0, -1.0

    def _evidence(self, now_s: float) -> ArrivalEvidence:
        carrier = self.trace.associations[self.association]
        is_open = now_s < carrier.closed_at_s
        step = self.trace.step
        step_ended = step is not None and step.completed_at_s <= now_s
        counts = Counts.NONE
        if self.trace.in_archive_at_s:
            counts = Counts.FRESH if self.answered_s > self.last_s else Counts.STALE
        return ArrivalEvidence(
            instance_count=self.arrival_count,
            silence_s=now_s - self.last_s,
            association=AssociationState.OPEN if is_open else AssociationState(carrier.how),
            series=tuple(self._series(step_ended)),
            geometry_is_known=self.read_count == len(self.here) or max(Counter(
                one.series for one in self.here).values()) < SLICES_MIN,
            steps_in_progress=int(step is not None and step.created_at_s <= now_s and not step_ended),
            steps_ended=int(step_ended),
            counts=counts,
            archive_grew=self.archive.grew,
        )  # fmt: skip

    def _series(self, step_ended: bool) -> Iterator[SeriesEvidence]:
        here = Counter(one.series for one in self.here)
        step = self.trace.step
        listed = Counter(one.series for one in step.listed) if step and step_ended else Counter[int]()
        listed_here = (
            Counter(one.series for one in step.listed & self.here) if listed and step else Counter[int]()
        )
        counted = self.archive.counts
        known = {str(number) for number in here} | {str(number) for number in listed} | set(counted or {})
        for uid in sorted(known, key=int):
            number = int(uid)
            yield SeriesEvidence(
                uid, number, "CT", here[number], 0.0, listed[number], listed_here[number],
                None if counted is None else counted.get(uid),
                self.missing.get(number, 0) if self.read_count == len(self.here) else 0,
            )  # fmt: skip

    def _archive_counts(self, now_s: float) -> dict[str, int]:
        held = Counter(one.series for one, since_s in self.trace.in_archive_at_s.items() if since_s <= now_s)
        return {str(number): count for number, count in held.items()}

    def _read_headers(self) -> None:
        self.read_count = len(self.here)
        by_series: dict[int, list[Instance]] = {}
        for one in self.here:
            by_series.setdefault(one.series, []).append(one)
        self.missing = {
            number: missing_slices(Series(f"1.{number}", "CT", tuple(map(_header, members))))
            for number, members in by_series.items()
            if len(members) >= SLICES_MIN
        }


def _header(one: Instance) -> Header:
    """A slice of a regular stack."""
    return Header(
        sop_instance_uid=f"1.{one.series}.{one.number}", sop_class_uid="1.2", transfer_syntax_uid="1.2", location="",
        instance_number=one.number + 1, number_of_frames=1, image_position_mm=(0.0, 0.0, one.number * 1.25),
        image_orientation=_AXIAL,
    )  # fmt: skip
