"""Assemble: when is a study complete? A pure decision, with the sentence that explains it.

DICOM has no "end of study": a PACS may split one over associations, resend it, or go on after a pause. The
rule here is quiet time since the last instance, per peer; what is known about the association is noted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class ArrivalState:
    """What is known about instances of one study that arrived together.

    last_instance_at: aware; when the last of them was recorded.
    association_open: whether the association that brought it still lives.
    association_ended: "released", "aborted" or "lost"; None while it is open.
    """

    last_instance_at: datetime
    association_open: bool
    association_ended: str | None
    instance_count: int

    def __post_init__(self) -> None:
        if self.last_instance_at.tzinfo is None:
            raise ValueError("last_instance_at must be an aware datetime")
        if self.instance_count < 1:
            raise ValueError("an arrival has at least one instance")


@dataclass(frozen=True)
class Completion:
    """The decision that a study is complete. reason: one sentence, kept with the decision."""

    reason: str
    instance_count: int
    silence_s: float


def is_complete(state: ArrivalState, now: datetime, quiet_time_s: float) -> Completion | None:
    """Complete when no instance arrived for `quiet_time_s`; None while instances may still come.

    A clock that went backwards only makes the study wait longer.
    """
    silence_s = (now - state.last_instance_at).total_seconds()
    if silence_s < quiet_time_s:
        return None
    instances = "1 instance" if state.instance_count == 1 else f"{state.instance_count} instances"
    reason = (
        f"{instances}, then {silence_s:.1f} s without another (quiet time {quiet_time_s:g} s); {_end(state)}"
    )
    return Completion(reason, state.instance_count, silence_s)


def _end(state: ArrivalState) -> str:
    if state.association_open:
        return "the association is still open"
    if state.association_ended == "released":
        return "the association was released"
    return f"the association was {state.association_ended or 'lost'} before it was released"
