"""Which error is tried again, when, and how often. A retry is a value, not control flow."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from pipeline.errors import CommitmentNotReported
from pipeline.report_errors import ReportError
from storage.errors import StoreNotReady


@dataclass(frozen=True)
class RetryDecision:
    """Try again after `delay_s`."""

    delay_s: float


# A peer that does not take our report may be down for a night: 2 s, 4 s, 8 s … 10 min, about three days in all.
_COMMITMENT_ATTEMPTS_MAX = 450
_COMMITMENT_DELAY_S_MAX = 600.0
# An object store that is away keeps everybody waiting, and nobody is to blame: once a minute for a week.
_STORE_ATTEMPTS_MAX = 10_000
# What may pass by itself: disk full, database gone, out of memory; a step that took its worker
# down with it counts too.
ATTEMPTS_MAX = 6
# The database has ended our transaction because nothing happened in it: this process stood still for a while.
_LetGo = psycopg.errors.IdleInTransactionSessionTimeout
_DELAY_S_MIN = 2.0
_DELAY_S_MAX = 60.0


def decide(error: BaseException, attempts: int) -> RetryDecision | None:
    """The retry after `attempts` earlier ones (0 = this was the first try), or None to give up."""
    if isinstance(error, CommitmentNotReported):
        return _decision(attempts, _COMMITMENT_ATTEMPTS_MAX, _COMMITMENT_DELAY_S_MAX)
    if isinstance(error, StoreNotReady):
        return _decision(attempts, _STORE_ATTEMPTS_MAX, _DELAY_S_MAX)
    if isinstance(error, OSError | MemoryError | ReportError | psycopg.OperationalError | _LetGo):
        return _decision(attempts, ATTEMPTS_MAX, _DELAY_S_MAX)
    return None


def _decision(attempts: int, attempts_max: int, delay_s_max: float) -> RetryDecision | None:
    if attempts >= attempts_max:
        return None
    return RetryDecision(back_off_s(attempts, _DELAY_S_MIN, delay_s_max))


def back_off_s(attempts: int, delay_s_min: float, delay_s_max: float) -> float:
    """The pause after `attempts` earlier ones: the shortest, doubled each time up to the longest."""
    return min(delay_s_max, delay_s_min * 2.0 ** min(attempts, 30))
