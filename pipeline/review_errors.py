"""Why a verdict is not taken; what was typed stays with who typed it."""

from __future__ import annotations

from pipeline.errors import PipelineError


class ReviewError(PipelineError):
    """What a person said of a result cannot be taken."""


class ReviewSuperseded(ReviewError):
    """A newer result of this study takes the place of the one that you read. Look at it first."""


class SaidMeanwhile(ReviewError):
    """Somebody else has said something of it since you opened this page."""


class FindingUnknown(ReviewError):
    """The result has no such finding."""


class PlaceUnknown(ReviewError):
    """There is no such place: name an image of the series that the model read, and a column and row inside it."""


class VerdictUnfit(ReviewError):
    """The verdict is not complete, or says what cannot be said of this finding."""


class NothingToTakeBack(ReviewError):
    """There is nothing of it that could be taken back."""


class FindingsUndecided(ReviewError):
    """Some findings have no verdict yet; a review is finished when each has one."""


class NotDeliveredYet(ReviewError):
    """The result has not reached its destination yet. Your verdicts are kept; finish the review when it has."""
