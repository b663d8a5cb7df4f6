"""Numbers about the acceptor that only grow."""

from __future__ import annotations

import threading
from collections import Counter


class Counters:
    """Named totals since the start, safe to add to from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals: Counter[str] = Counter()

    def add(self, name: str, amount: int = 1) -> None:
        with self._lock:
            self._totals[name] += amount

    def snapshot(self) -> dict[str, int]:
        with self._lock:
            return dict(self._totals)
