"""Assemble: is a study complete? A pure decision from everything that is known, with the reason that explains it.

DICOM has no "end of study": a PACS may split one over associations, send it again, or go on after a pause. A list
(MPPS, the archive's counts) that is satisfied ends the wait, one that is not prolongs it; without a list a quiet time
learned from the sender decides. `docs/decisions/0006-when-a-study-is-complete.md` has the rules and why.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from dicom_gateway.arrival_evidence import (
    ArrivalEvidence,
    AssociationState,
    CompletionPolicy,
    Counts,
    ForcePolicy,
    Order,
    SeriesEvidence,
)

# An association that has just brought an instance is in the middle of something.
SETTLE_S = 3.0
# A series of which nothing has come after this silence is not sent to us (a PACS that routes some series only).
ABSENT_WAIT_S = 150.0
# A hole inside a series, and what a list leaves out of a sender whose pauses are not known yet, are waited for so long.
GAP_WAIT_S = 130.0
# An archive that is not asked in time is done without.
COUNTS_WAIT_S = 15.0
# The silence while an association is open, in quiet times: the sender is likely to go on.
PATIENCE = 3.0
# The same after an association that broke off, until enough of them have shown when the sender comes back.
BROKEN_PATIENCE = 12.0
# However far the next event is, look again after this time.
_LOOK_AGAIN_MAX_S = 60.0


Values = dict[str, str | int | float]


class Verdict(StrEnum):
    """What the decision is."""

    COMPLETE = "complete"
    WAIT = "wait"
    DISCARD = "discard"
    ASK = "ask"
    """The force time is over and a person decides."""
    READ_HEADERS = "read_headers"
    """Decide again once the headers of what is here were read."""


@dataclass(frozen=True)
class Reason:
    """Why, as a stable code and the numbers of its sentence (`pipeline/completion_text.py` has the words)."""

    code: str
    values: Values = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """The verdict and why. look_again_s: when time alone may change it; None when it is final."""

    verdict: Verdict
    reason: Reason
    look_again_s: float | None = None


@dataclass(frozen=True)
class _Obstacle:
    """Something that is waited for, until the silence has lasted `until_s`. forced: going on then is not normal."""

    reason: Reason
    until_s: float
    forced: bool = True


def decide(evidence: ArrivalEvidence, policy: CompletionPolicy) -> Decision:
    """Whether the study is complete; the rules in order of precedence."""
    if evidence.order is Order.PROCESS:
        return Decision(Verdict.COMPLETE, Reason("person", _missing_values(evidence)))
    if evidence.order is Order.DISCARD:
        return Decision(Verdict.DISCARD, Reason("discarded_by_person"))
    obstacles = list(_obstacles(evidence, policy))
    for obstacle in obstacles:
        if evidence.silence_s < obstacle.until_s:
            return _wait(obstacle.reason, obstacle.until_s - evidence.silence_s)
    if any(obstacle.forced for obstacle in obstacles):
        return _force(next(one.reason for one in obstacles if one.forced), evidence, policy)
    proof = None if obstacles else _by_mpps(evidence, policy) or _by_counts(evidence, policy)
    if proof is not None:
        if evidence.association is AssociationState.OPEN and evidence.silence_s < SETTLE_S:
            return _wait(
                Reason("association_open", {"silence_s": round(evidence.silence_s, 1)}),
                SETTLE_S - evidence.silence_s,
            )
        return Decision(Verdict.COMPLETE, proof)
    return _by_silence(evidence, policy)


def complete_series(evidence: ArrivalEvidence, policy: CompletionPolicy) -> tuple[SeriesEvidence, ...]:
    """The series that are whole by themselves while others still arrive: by list, or by silence without a hole."""

    def is_whole(series: SeriesEvidence) -> bool:
        if not series.series_instance_uid or series.here == 0 or series.missing or series.missing_slices:
            return False
        is_list = evidence.steps_ended and policy.steps_list_less is False
        if series.listed and is_list and not series.unlisted:
            return True
        if series.counted == series.here and not evidence.archive_grew and not policy.archive_fills:
            return True
        return series.is_read and series.silence_s >= policy.quiet.seconds

    return tuple(series for series in evidence.series if is_whole(series))


def _obstacles(evidence: ArrivalEvidence, policy: CompletionPolicy) -> Iterator[_Obstacle]:
    """What says that more is to come, the most certain first."""
    short = [series for series in evidence.series if series.missing and series.here]
    if short:
        yield _Obstacle(_waiting_for(short), policy.force_after_s)
    for requirement in evidence.required_missing:
        yield _Obstacle(Reason("required_series", {"series": requirement}), policy.force_after_s)
    if evidence.steps_in_progress:
        yield _Obstacle(
            Reason("in_progress", {"images": evidence.instance_count}), policy.force_after_s, forced=False
        )
    absent = [series for series in evidence.series if series.is_absent]
    if len(absent) > policy.series_not_sent or any(series.counted for series in absent):
        yield _Obstacle(_waiting_for(absent), min(ABSENT_WAIT_S, policy.force_after_s), forced=False)
    is_odd = evidence.archive_grew and not policy.archive_fills  # not what was learned of this sender
    if (is_odd or not policy.quiet.is_learned) and (unproven := _unproven(evidence, policy)):
        until_s = min(max(GAP_WAIT_S, policy.quiet.seconds), policy.force_after_s)
        yield _Obstacle(Reason(unproven, {"images": evidence.instance_count}), until_s, forced=False)


def _by_mpps(evidence: ArrivalEvidence, policy: CompletionPolicy) -> Reason | None:
    """Every step has ended, they list everything that is here, all that they list and is sent is here."""
    listed = sum(series.listed for series in evidence.series)
    absent = [series for series in evidence.series if series.is_absent]
    is_all_here = all(one.listed_here == one.listed or one.is_absent for one in evidence.series)
    if evidence.steps_in_progress or not evidence.steps_ended or not listed or not is_all_here:
        return None
    if len(absent) > policy.series_never_sent or any(series.counted for series in absent):
        return None
    if policy.steps_list_less is not False or any(series.unlisted for series in evidence.series):
        return None
    here = sum(series.listed_here for series in evidence.series)
    return (
        Reason("mpps_kept", {"images": here, "absent": len(absent)})
        if absent
        else Reason("mpps", {"images": here})
    )


def _by_counts(evidence: ArrivalEvidence, policy: CompletionPolicy) -> Reason | None:
    """The archive had the study before it sent it, and everything that it counts is here."""
    counted = sum(series.counted or 0 for series in evidence.series)
    if evidence.counts is not Counts.FRESH or not counted or evidence.archive_grew or policy.archive_fills:
        return None
    return Reason("counts", {"images": counted, "series": len(evidence.series)})


def _unproven(evidence: ArrivalEvidence, policy: CompletionPolicy) -> str | None:
    """Why lists are no end: the archive itself still gets the study, MPPS is not what the sender sends.

    Such lists are a sign that the sender may go on: where its pauses are not known, it is given longer.
    """
    if _by_mpps(evidence, policy) is not None or _by_counts(evidence, policy) is not None:
        return None
    if any(series.counted for series in evidence.series) and (evidence.archive_grew or policy.archive_fills):
        return "archive_is_filling"
    if not any(series.listed for series in evidence.series):
        return None
    differs = policy.steps_list_less or any(one.unlisted for one in evidence.series)
    return "steps_differ" if differs else "steps_untried"


def _by_silence(evidence: ArrivalEvidence, policy: CompletionPolicy) -> Decision:
    """No list ends the wait: silence does, longer after a broken association, a hole or an unanswered question."""
    quiet = policy.quiet
    needed_s, reason = quiet.seconds, _quiet_reason("quiet_time", evidence, policy)
    if evidence.association is not AssociationState.RELEASED:
        needed_s = _patience_s(evidence.association, policy)
        reason = Reason(f"association_{evidence.association}", {"silence_s": round(evidence.silence_s, 1)})
    if evidence.silence_s < needed_s:
        return _wait(reason, needed_s - evidence.silence_s)
    if evidence.counts is Counts.STALE and evidence.silence_s < needed_s + COUNTS_WAIT_S:
        return _wait(Reason("asking_archive"), needed_s + COUNTS_WAIT_S - evidence.silence_s)
    if not evidence.geometry_is_known:
        return Decision(Verdict.READ_HEADERS, _quiet_reason("quiet", evidence, policy))
    holed = [series for series in evidence.series if series.missing_slices]
    if holed:
        first = holed[0]
        values = series_values(first) | {"images": sum(one.missing_slices for one in holed)}
        if evidence.silence_s < min(GAP_WAIT_S, policy.force_after_s):
            return _wait(Reason("slice_gap", values), GAP_WAIT_S - evidence.silence_s)
        return Decision(
            Verdict.COMPLETE, Reason("gap_given_up", values | {"silence_s": round(evidence.silence_s)})
        )
    if absent := sum(series.is_absent for series in evidence.series):
        return Decision(
            Verdict.COMPLETE, Reason("not_sent", {"absent": absent, "silence_s": round(evidence.silence_s)})
        )
    return Decision(Verdict.COMPLETE, _quiet_reason("quiet", evidence, policy))


def _patience_s(association: AssociationState, policy: CompletionPolicy) -> float:
    """The silence after an association that was not released."""
    quiet, broken = policy.quiet, policy.broken_quiet
    if association is AssociationState.OPEN:
        return max(quiet.seconds, min(quiet.seconds * PATIENCE, policy.quiet_max_s))
    if broken.is_learned:
        return max(quiet.seconds, broken.seconds)
    return max(quiet.seconds, min(quiet.seconds * BROKEN_PATIENCE, policy.quiet_max_s))


def _quiet_reason(code: str, evidence: ArrivalEvidence, policy: CompletionPolicy) -> Reason:
    quiet = policy.quiet
    values: Values = {
        "images": evidence.instance_count,
        "silence_s": round(evidence.silence_s, 1),
        "quiet_s": round(quiet.seconds, 1),
    }
    if quiet.pause_s is None:
        return Reason(code, values)
    return Reason(
        f"{code}_learned", values | {"pause_s": round(quiet.pause_s, 1), "studies": quiet.study_count}
    )


def _force(reason: Reason, evidence: ArrivalEvidence, policy: CompletionPolicy) -> Decision:
    values = reason.values | {"silence_s": round(evidence.silence_s)}
    code = "required" if reason.code == "required_series" else "missing"
    if policy.force_policy is ForcePolicy.ASK:
        return Decision(Verdict.ASK, Reason(f"ask_{code}", values), _LOOK_AGAIN_MAX_S)
    if policy.force_policy is ForcePolicy.DISCARD:
        return Decision(Verdict.DISCARD, Reason(f"discarded_{code}", values))
    return Decision(Verdict.COMPLETE, Reason(f"forced_{code}", values))


def _waiting_for(series: list[SeriesEvidence]) -> Reason:
    """“waiting for 12 slices of series 4”; of several series the sum."""
    values: Values = {"images": sum(one.missing for one in series), "series_count": len(series)}
    if any(not one.series_instance_uid for one in series):
        return Reason("missing_of_study", {"images": max(one.missing for one in series)})
    if len(series) == 1:
        return Reason("missing_of_series", values | series_values(series[0]))
    return Reason("missing_of_several", values)


def series_values(series: SeriesEvidence) -> Values:
    """How a sentence names the series."""
    return {"series": series.number if series.number is not None else "", "modality": series.modality}


def _missing_values(evidence: ArrivalEvidence) -> Values:
    missing = sum(one.missing + one.missing_slices for one in evidence.series)
    return {"images": evidence.instance_count, "missing": missing}


def _wait(reason: Reason, look_again_s: float) -> Decision:
    return Decision(Verdict.WAIT, reason, min(max(look_again_s, 0.2), _LOOK_AGAIN_MAX_S))
