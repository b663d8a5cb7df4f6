"""A bounded memory of failures: slows down guessing of passwords."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable


class FailureLimit:
    """At most `failures_max` failures for one key within `window_s` seconds.

    Kept in this process alone: n portal processes together allow n times as many. `keys_max` bounds the
    memory; the key that failed longest ago is forgotten first.
    """

    def __init__(
        self,
        failures_max: int,
        window_s: float,
        *,
        keys_max: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures_max = failures_max
        self._window_s = window_s
        self._keys_max = keys_max
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, key: str) -> int:
        """Whole seconds until `key` may try again; 0 when it may now."""
        with self._lock:
            failures = self._failures.get(key)
            now = self._clock()
            while failures and failures[0] <= now - self._window_s:
                failures.popleft()
            if not failures or len(failures) < self._failures_max:
                return 0
            return max(1, int(failures[0] + self._window_s - now) + 1)

    def failed(self, key: str) -> None:
        with self._lock:
            self._failures.setdefault(key, deque(maxlen=self._failures_max)).append(self._clock())
            self._failures.move_to_end(key)
            while len(self._failures) > self._keys_max:
                self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        with self._lock:
            self._failures.pop(key, None)
