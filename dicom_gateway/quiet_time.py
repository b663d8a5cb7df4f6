"""How long a sender pauses inside a study: a quiet time learned from the pauses that were seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Fewer studies do not tell how a sender pauses.
SAMPLES_MIN = 10
# Of fewer studies the longest pause counts: it says at least what the sender can do.
_QUANTILE_SAMPLES_MIN = 20
# The newest studies are looked at: what a sender did before it was reconfigured fades out.
SAMPLES_MAX = 200
# A pause this long is no pause of a sender: somebody added images later.
PAUSE_MAX_S = 600.0
# The longer pause of one study in ten is an accident, not a habit.
_QUANTILE = 0.9
_SAFETY = 1.15


@dataclass(frozen=True)
class QuietTime:
    """Seconds of silence, and what they were learned from.

    pause_s: the longest pause of nine studies in ten, or of all while there are few; None without any.
    study_count: completed studies whose pauses were looked at.
    """

    seconds: float = 10.0
    pause_s: float | None = None
    study_count: int = 0

    @property
    def is_learned(self) -> bool:
        """Whether enough studies were seen to tell how the sender pauses."""
        return self.study_count >= SAMPLES_MIN

    def __post_init__(self) -> None:
        if not 0 < self.seconds < math.inf:
            raise ValueError("a quiet time is positive and finite")


def learn(longest_pauses_s: Sequence[float], configured_s: float, max_s: float) -> QuietTime:
    """The quiet time of one peer and modality.

    longest_pauses_s: for each completed study the longest pause between two of its instances that no hole in a
    series gave away, newest first. What was learned only lengthens the configured time, and never beyond `max_s`. A
    quantile, so that no single study, however odd, moves it; of few studies the longest, because a study that went
    on after a pause is followed by others that do.
    """
    sample = sorted(pause for pause in longest_pauses_s[:SAMPLES_MAX] if 0 <= pause <= PAUSE_MAX_S)
    if not sample:
        return QuietTime(configured_s)
    rank = math.ceil(_QUANTILE * len(sample)) if len(sample) >= _QUANTILE_SAMPLES_MIN else len(sample)
    pause_s = sample[rank - 1]
    seconds = min(max(configured_s, pause_s * _SAFETY), max(configured_s, max_s))
    return QuietTime(seconds, pause_s, len(sample))
