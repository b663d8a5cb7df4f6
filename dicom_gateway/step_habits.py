"""What a sender's MPPS is worth as a list, learned from its studies: it may list too little, or more than is sent."""

from __future__ import annotations

from collections.abc import Sequence

from dicom_gateway.quiet_time import SAMPLES_MIN

# Of so many studies one may be an exception, as with pauses.
_EXCEPTION = 20


def steps_list_less(listed_less: Sequence[bool]) -> bool:
    """Whether what the sender's MPPS lists is not all that comes, so that a satisfied one is no end.

    listed_less: for each completed study with an MPPS whether something came that it did not list, newest first. False
    until one has shown it: most modalities list what they made.
    """
    return sum(listed_less) * _EXCEPTION > len(listed_less)


def series_not_sent(absent: Sequence[int]) -> int:
    """How many of the listed series the sender never sends in nearly every study: raw data, a route for some series.

    absent: for each completed study with an MPPS how many listed series never began. 0 until enough studies were seen.
    """
    return sorted(absent)[len(absent) // _EXCEPTION] if len(absent) >= SAMPLES_MIN else 0
