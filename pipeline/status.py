"""The states of a study and the one table of transitions."""

from __future__ import annotations

from enum import StrEnum

from pipeline.errors import TransitionNotAllowed


class StudyStatus(StrEnum):
    """Where a study stands on its path."""

    RECEIVING = "receiving"
    """Instances arrive; what is waited for is shown."""
    ASSEMBLED = "assembled"
    """The study is taken as complete; the reason is stored."""
    ROUTED = "routed"
    """A series was chosen for each model."""
    HELD = "held"
    """A limit of the contract is reached and the work can wait; it goes on by itself. The reason is shown."""
    DECODED = "decoded"
    """The chosen series lie as volumes in Hounsfield units."""
    INFERRED = "inferred"
    """The models have run and their findings are stored."""
    ENCODED = "encoded"
    """Result objects are written and wait for delivery."""
    DELIVERED = "delivered"
    """Every required destination has acknowledged every result object that it takes."""
    SHADOWED = "shadowed"
    """The models ran in shadow: their results are kept and nothing is sent or charged."""
    REJECTED = "rejected"
    """The input is unfit for every model; the reason is stored and shown."""
    FAILED = "failed"
    """A step could not be done; the reason is stored and shown."""
    PRIOR = "prior"
    """Fetched for comparison with another study: kept, neither analysed nor billed."""
    ERASED = "erased"
    """Images, results and patient were erased on somebody's order; what was charged stays in the books."""


TERMINAL = frozenset(
    {
        StudyStatus.DELIVERED,
        StudyStatus.SHADOWED,
        StudyStatus.REJECTED,
        StudyStatus.FAILED,
        StudyStatus.PRIOR,
        StudyStatus.ERASED,
    }
)

_S = StudyStatus
TRANSITIONS: dict[StudyStatus, frozenset[StudyStatus]] = {
    # Rejected at once: a person or the peer's policy discards what will not become complete.
    _S.RECEIVING: frozenset({_S.ASSEMBLED, _S.REJECTED, _S.PRIOR}),
    # Delivered or shadowed at once: late instances that do not change what the models read.
    # Receiving again: a start before the end that no rule wants any more.
    _S.ASSEMBLED: frozenset({_S.RECEIVING, _S.ROUTED, _S.DELIVERED, _S.SHADOWED, _S.REJECTED, _S.FAILED}),
    _S.ROUTED: frozenset({_S.HELD, _S.DECODED, _S.REJECTED, _S.FAILED}),
    # Assembled again: more instances came while it waited.
    _S.HELD: frozenset({_S.ROUTED, _S.ASSEMBLED, _S.REJECTED, _S.FAILED}),
    _S.DECODED: frozenset({_S.INFERRED, _S.REJECTED, _S.FAILED}),
    _S.INFERRED: frozenset({_S.ENCODED, _S.SHADOWED, _S.FAILED}),
    _S.ENCODED: frozenset({_S.DELIVERED, _S.FAILED}),
    # New instances after the end open the next revision.
    _S.DELIVERED: frozenset({_S.ASSEMBLED, _S.ERASED}),
    _S.SHADOWED: frozenset({_S.ASSEMBLED, _S.ERASED}),
    _S.REJECTED: frozenset({_S.ASSEMBLED, _S.ERASED}),
    # Assembled again without new instances: a person wants it tried again, or its sender sends it again.
    # Encoded again: a person sends what a destination did not take.
    _S.FAILED: frozenset({_S.ASSEMBLED, _S.ENCODED, _S.ERASED}),
    # Sent by somebody after we had fetched it: it begins like a new one, although its images are here.
    _S.PRIOR: frozenset({_S.RECEIVING, _S.ERASED}),
    # For ever: what is sent again is a new study.
    _S.ERASED: frozenset(),
}


def require_transition(before: StudyStatus, after: StudyStatus) -> None:
    """Raise `TransitionNotAllowed` unless the table has `before` → `after`."""
    if after not in TRANSITIONS[before]:
        raise TransitionNotAllowed(before, after)
