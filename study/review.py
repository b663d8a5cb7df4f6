"""Review: what people have said of one result, finding by finding, and whether they have finished."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from study.errors import InvalidReview
from study.nodule import NoduleKind

NOTE_LENGTH_MAX = 2000
SIZE_MM_MAX = 1000.0

Place = tuple[str, float, float]
"""(SOP Instance UID, column, row) in pixels of that image, (0, 0) its upper left corner."""


class VerdictKind(StrEnum):
    """What a person says of one finding or statement, or of the whole study."""

    ACCEPT = "accept"
    REJECT = "reject"
    EDIT = "edit"
    """It is a finding, of another size or type."""
    MISSED = "missed"
    """A finding that the model did not make, at a place."""
    UNSURE = "unsure"


class ReviewState(StrEnum):
    """Where a result stands with the people who read it."""

    NOT_REVIEWED = "not_reviewed"
    IN_REVIEW = "in_review"
    REVIEWED = "reviewed"
    SUPERSEDED = "superseded"
    """A newer result of the study stands in its place."""


@dataclass(frozen=True)
class Verdict:
    """One person's word that counts, at an aware instant.

    finding_uid: Tracking UID of the finding or statement; of a missed finding the one that it was given here.
    size_mm: mean diameter, nodule_kind: type; of an edit or a missed finding, None where it was left as it is.
    place: where a missed finding lies. label: what it is, in the words of the model's labels; a nodule without it.
    frame_number: of an image that has several frames, from 1.
    """

    finding_uid: str | None
    kind: VerdictKind
    by: str
    at: datetime
    note: str = ""
    size_mm: float | None = None
    nodule_kind: NoduleKind | None = None
    place: Place | None = None
    label: str = ""
    frame_number: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", VerdictKind(self.kind))
        if self.nodule_kind is not None:
            object.__setattr__(self, "nodule_kind", NoduleKind(self.nodule_kind))
        if self.at.tzinfo is None:
            raise InvalidReview("the instant of a verdict needs a zone")
        if self.finding_uid is None:
            raise InvalidReview("a verdict needs the finding that it is about")
        if (self.kind is VerdictKind.MISSED) != (self.place is not None):
            raise InvalidReview("a missed finding needs its place, and only a missed finding has one")
        if self.size_mm is not None and not 0 < self.size_mm <= SIZE_MM_MAX:
            raise InvalidReview(f"a size is above 0 and at most {SIZE_MM_MAX:g} mm")
        if self.kind is VerdictKind.EDIT and self.size_mm is None and self.nodule_kind is None:
            raise InvalidReview("an edit needs a size or a type")
        if self.place is not None and not all(math.isfinite(one) and one >= 0 for one in self.place[1:]):
            raise InvalidReview("a place is a column and a row of the image, from 0")
        if len(self.note) > NOTE_LENGTH_MAX:
            raise InvalidReview(f"a note has at most {NOTE_LENGTH_MAX} characters")


@dataclass(frozen=True)
class Review:
    """state, and by whom and when it was finished; verdicts: those that count, in the order in which they were given.

    by, at: None until it is finished. number: how often the review of this result has been finished, 0 before.
    nothing_missed: a person said that the whole study shows no further finding.
    """

    state: ReviewState
    by: str | None = None
    at: datetime | None = None
    verdicts: tuple[Verdict, ...] = ()
    number: int = 0
    nothing_missed: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", ReviewState(self.state))
        if (self.state is ReviewState.REVIEWED) and (self.by is None or self.at is None):
            raise InvalidReview("a finished review names who finished it and when")

    def of(self, finding_uid: str) -> Verdict | None:
        """The verdict that counts for a finding."""
        return next((one for one in reversed(self.verdicts) if one.finding_uid == finding_uid), None)

    @property
    def changes_findings(self) -> bool:
        """Whether a finding was taken out, added or given another size or type: what was derived from them is void."""
        changing = (VerdictKind.REJECT, VerdictKind.EDIT, VerdictKind.MISSED)
        return any(one.kind in changing for one in self.verdicts)

    @property
    def missed(self) -> tuple[Verdict, ...]:
        """The findings that were added, in order."""
        return tuple(one for one in self.verdicts if one.kind is VerdictKind.MISSED)
