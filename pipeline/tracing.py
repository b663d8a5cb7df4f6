"""Spans of a study's way through the processes. Here they cost nothing; `server.traces` sends them to a collector.

Every process derives a study's trace and the spans that others hang theirs on from the study's opaque id alone
(`trace_id`, `root_id`, `step_id`). So no row and no job carries a context that an older version would not know, and a
step that was killed and is taken again is linked to the attempt before, which may never have been sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from uuid import UUID

# All that a span says beside its name and its times. Never a UID, a name, an accession number, a path or a message.
ATTRIBUTES = frozenset({
    "tenant", "study", "revision", "step", "attempt", "gives", "reason", "model", "kind", "state", "outcome",
    "waited_ms", "instances", "priority", "decision", "error",
})  # fmt: skip
Value = str | int | float


@dataclass(frozen=True)
class Place:
    """Whose span it is. revision: None where it is about the study as such."""

    tenant: str
    study_id: UUID
    revision: int | None = None


class Span:
    """One that runs."""

    def set(self, **attributes: Value) -> None:
        """Say more of it; names are those of `ATTRIBUTES`."""


class Tracing:
    """Where spans go; nowhere, here. Quick, called from any thread, and never raises."""

    is_on = False

    def step(self, place: Place, name: str, attempt: int) -> AbstractContextManager[Span]:
        """A step of a revision; the attempt after the first is linked to the one before."""
        del place, name, attempt
        return _nothing()

    def span(self, place: Place, name: str, **attributes: Value) -> AbstractContextManager[Span]:
        """Work for a study that may be done several times, below its revision."""
        del place, name, attributes
        return _nothing()

    def part(self, name: str, **attributes: Value) -> AbstractContextManager[Span]:
        """A part of what runs in this thread; nothing where nothing does."""
        del name, attributes
        return _nothing()

    def note(self, place: Place, name: str, seconds: float, **attributes: Value) -> None:
        """Something that ended just now."""

    def end(self, place: Place, seconds: float, **attributes: Value) -> None:
        """The study's revision came to its end just now: the span that all others hang on."""

    def close(self) -> None:
        """Send what is left, for a moment."""


_NO_SPAN = Span()


@contextmanager
def _nothing() -> Iterator[Span]:
    yield _NO_SPAN


NO_TRACING = Tracing()


def trace_id(study_id: UUID) -> int:
    """128 bits. Not the study's id itself: samplers want all of them random."""
    return _number("trace", study_id, size=16)


def root_id(study_id: UUID, revision: int | None) -> int:
    """64 bits: of the span of a revision; the first one's is the root of the trace."""
    return _number("root", study_id, revision or 1, size=8)


def step_id(place: Place, name: str, attempt: int) -> int:
    """64 bits."""
    return _number("step", place.study_id, place.revision, name, attempt, size=8)


def traceparent(study_id: UUID) -> str:
    """The study's root as W3C Trace Context has it."""
    return f"00-{trace_id(study_id):032x}-{root_id(study_id, None):016x}-01"


def _number(*parts: object, size: int) -> int:
    digest = hashlib.blake2b(
        "|".join(map(str, parts)).encode(), digest_size=size, person=b"radmeter"
    ).digest()
    return int.from_bytes(digest) or 1  # zero is no id
