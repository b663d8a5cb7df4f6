"""What a sender's MPPS is worth as a list, learned from its studies: it may list too little, or more than is sent."""

from __future__ import annotations

from collections.abc import Sequence

from dicom_gateway.quiet_time import SAMPLES_MIN

# Of so many studies one may be an exception, as with pauses.
_EXCEPTION = 20
# Studies after which an MPPS that listed everything that came is believed.
STEPS_MIN = 3


def steps_list_less(listed_less: Sequence[bool]) -> bool | None:
    """Whether what the sender's MPPS lists is not all that comes, so that a satisfied one is no end.

    listed_less: for each completed study with an MPPS whether something came that it did not list, newest first. None
    until enough studies tell.
    """
    if sum(listed_less) * _EXCEPTION > len(listed_less):
        return True
    return False if len(listed_less) >= STEPS_MIN else None


def series_not_sent(absent: Sequence[int]) -> int:
    """How many of the listed series the sender never sends in nearly every study: raw data, a route for some series.

    absent: for each completed study with an MPPS how many listed series never began. 0 until enough studies were seen.
    """
    return sorted(absent)[len(absent) // _EXCEPTION] if len(absent) >= SAMPLES_MIN else 0


def series_never_sent(absent: Sequence[int]) -> int:
    """How many in every study: when all the others are here, no listed one is left that could come."""
    return min(absent) if len(absent) >= SAMPLES_MIN else 0
