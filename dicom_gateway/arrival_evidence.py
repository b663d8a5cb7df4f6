"""What is known about a study that is arriving: the input of `assemble.decide`. Plain numbers, no clock, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from dicom_gateway.quiet_time import QuietTime


class AssociationState(StrEnum):
    """What became of the association that brought the latest instance."""

    OPEN = "open"
    RELEASED = "released"
    ABORTED = "aborted"
    LOST = "lost"


class Counts(StrEnum):
    """How well the sender's archive was asked how many instances it has."""

    NONE = "none"
    """It cannot be asked, or has not answered yet."""
    STALE = "stale"
    """It answered before the latest instance came."""
    FRESH = "fresh"
    """It answered after the latest instance came."""


class ForcePolicy(StrEnum):
    """What happens to a study for which something is still missing when the force time is over."""

    PROCESS = "process"
    DISCARD = "discard"
    ASK = "ask"


class Order(StrEnum):
    """What a person has asked for."""

    PROCESS = "process"
    DISCARD = "discard"


@dataclass(frozen=True)
class SeriesEvidence:
    """One series that has arrived, or that a list says will.

    series_instance_uid: empty for the whole study, where the archive counts nothing smaller.
    number: Series Number as far as headers were read, else None.
    here: instances that have arrived. silence_s: since the last of them, 0.0 while there is none.
    listed, listed_here: instances that MPPS lists, and those of them that have arrived.
    counted: what the sender's archive counts; None when it was not asked.
    missing_slices: slices that are missing inside the range of a regular series. is_read: the headers of what is here
        were read, so that a hole would be known.
    """

    series_instance_uid: str
    number: int | None = None
    modality: str = ""
    here: int = 0
    silence_s: float = 0.0
    listed: int = 0
    listed_here: int = 0
    counted: int | None = None
    missing_slices: int = 0
    is_read: bool = False

    def __post_init__(self) -> None:
        if self.listed_here > min(self.listed, self.here):
            raise ValueError("more listed instances are here than are listed or here")

    @property
    def missing(self) -> int:
        """Instances that a list names and that have not arrived, by the longer list."""
        return max(self.listed - self.listed_here, (self.counted or 0) - self.here, 0)

    @property
    def is_absent(self) -> bool:
        """A list names it and nothing of it has come."""
        return self.missing > 0 and self.here == 0

    @property
    def unlisted(self) -> int:
        """Instances that have arrived and that MPPS does not list."""
        return self.here - self.listed_here if self.series_instance_uid else 0


@dataclass(frozen=True)
class ArrivalEvidence:
    """Everything known about the instances of one study that arrive together.

    silence_s: since the latest instance. geometry_is_known: the headers of what is here were read.
    steps_in_progress, steps_ended: performed procedure steps (MPPS) of the study.
    archive_grew: a count went up while the study arrived: the archive itself is being filled.
    required_missing: series that a rule requires and that are not here, as the rule writes them.
    """

    instance_count: int
    silence_s: float
    association: AssociationState = AssociationState.RELEASED
    series: tuple[SeriesEvidence, ...] = ()
    geometry_is_known: bool = False
    steps_in_progress: int = 0
    steps_ended: int = 0
    counts: Counts = Counts.NONE
    archive_grew: bool = False
    required_missing: tuple[str, ...] = ()
    order: Order | None = None

    def __post_init__(self) -> None:
        if self.instance_count < 1:
            raise ValueError("an arrival has at least one instance")


@dataclass(frozen=True)
class CompletionPolicy:
    """How long to wait, for one peer and route.

    quiet: silence after which a study counts as complete when no list says more. broken_quiet: the same after an
    association that broke off.
    quiet_max_s: the longest such silence that the peer is given.
    archive_fills: the sender's archive is known to pass on what it has just got, or is not known well enough.
    steps_list_less: the sender's MPPS was seen to list less than what came; None where too few studies tell.
    series_not_sent: how many series it usually lists and does not send. series_never_sent: how many in every study.
    force_after_s: silence after which what a list promises is no longer waited for.
    """

    quiet: QuietTime = field(default_factory=QuietTime)
    broken_quiet: QuietTime = field(default_factory=QuietTime)
    quiet_max_s: float = 130.0
    force_after_s: float = 600.0
    force_policy: ForcePolicy = ForcePolicy.PROCESS
    archive_fills: bool = True
    steps_list_less: bool | None = None
    series_not_sent: int = 0
    series_never_sent: int = 0
