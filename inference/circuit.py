"""Leaving a failing endpoint alone, and trying again within a budget. Both are safe to use from several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import StrEnum


class Circuit(StrEnum):
    """closed: runs pass. open: none does. half_open: one does, and decides."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitBreaker:
    """Opens after `failures_max` failures in a row; after `pause_s` one run may try and decides what follows."""

    def __init__(self, clock: Callable[[], float], *, failures_max: int = 3, pause_s: float = 30.0) -> None:
        self._clock, self._failures_max, self._pause_s = clock, failures_max, pause_s
        self._failures = 0
        self._opened_at: float | None = None
        self._is_probing = False
        self._lock = threading.Lock()

    @property
    def state(self) -> Circuit:
        with self._lock:
            return self._state()

    def allows(self) -> bool:
        """Whether a run may begin. After True, `succeeded` or `failed` must be called."""
        with self._lock:
            state = self._state()
            if state is Circuit.CLOSED:
                return True
            if state is Circuit.OPEN or self._is_probing:
                return False
            self._is_probing = True
            return True

    def succeeded(self) -> bool:
        """The endpoint answered. True when that closed the circuit."""
        with self._lock:
            was_open = self._opened_at is not None
            self._failures, self._opened_at, self._is_probing = 0, None, False
            return was_open

    def failed(self) -> bool:
        """The endpoint did not answer. True when that opened the circuit, at first or again."""
        with self._lock:
            self._failures += 1
            if self._failures < self._failures_max or (self._opened_at is not None and not self._is_probing):
                return False
            self._opened_at, self._is_probing = self._clock(), False
            return True

    def _state(self) -> Circuit:
        if self._opened_at is None:
            return Circuit.CLOSED
        return Circuit.OPEN if self._clock() - self._opened_at < self._pause_s else Circuit.HALF_OPEN


class RetryBudget:
    """Retries for all runs together: each costs 1, each run that succeeds brings back `share` of one.

    When everything fails, what is tried again dries up, instead of multiplying the load on what is down already.
    """

    def __init__(self, *, retries_max: float = 10.0, share: float = 0.1) -> None:
        self._left = self._retries_max = retries_max
        self._share = share
        self._lock = threading.Lock()

    def take(self) -> bool:
        """One retry, if there is one left."""
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True

    def earn(self) -> None:
        with self._lock:
            self._left = min(self._retries_max, self._left + self._share)
