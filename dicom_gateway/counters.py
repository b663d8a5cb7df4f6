"""Numbers about the acceptor that only grow, and who is told of each."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

Observe = Callable[[str, int, str], None]
"""Told of each addition: name, amount, and the reason as the name of an error of ours, "" where there is none."""


def observe_nothing(_name: str, _amount: int, _reason: str) -> None:
    """Where nobody keeps metrics."""


class Counters:
    """Named totals since the start, safe to add to from any thread."""

    def __init__(self, observe: Observe = observe_nothing) -> None:
        self._observe = observe
        self._lock = threading.Lock()
        self._totals: Counter[str] = Counter()

    def add(self, name: str, amount: int = 1, reason: str = "") -> None:
        with self._lock:
            self._totals[name] += amount
        self._observe(name, amount, reason)

    def snapshot(self) -> dict[str, int]:
        with self._lock:
            return dict(self._totals)
