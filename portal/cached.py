"""Figures that are asked for once in a while, however often somebody scrapes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from prometheus_client.core import Metric
from prometheus_client.registry import Collector


class Cached(Collector):
    """What a collector said last, for `kept_s`; nothing, as from a database that is away, is asked again at once."""

    def __init__(
        self, collector: Collector, kept_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._collector = collector
        self._kept_s = kept_s
        self._clock = clock
        self._lock = threading.Lock()
        self._asked_at: float | None = None
        self._known: list[Metric] = []

    def describe(self) -> Iterable[Metric]:
        """Nothing: a registry that asks would ask the database."""
        return []

    def collect(self) -> Iterable[Metric]:
        with self._lock:
            now = self._clock()
            if not self._known or self._asked_at is None or now - self._asked_at >= self._kept_s:
                self._known, self._asked_at = list(self._collector.collect()), now
            return self._known
