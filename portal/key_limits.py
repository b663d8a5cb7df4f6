"""How often, and how often at once, an API key may ask."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from portal.auth import ApiKey
from portal.errors import TooManyRequests


@dataclass
class _Use:
    """left: requests that may be made at once now; they come back evenly over a minute."""

    left: float
    counted_at: float
    running: int = 0


class KeyLimits:
    """A minute's requests may come in a burst; then one is let in as each comes back.

    Kept in this process alone: n portal processes together allow n times as many. `keys_max` bounds the memory; the
    key that asked longest ago is forgotten first, unless it is being answered.
    """

    def __init__(self, *, keys_max: int = 10_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys_max = keys_max
        self._clock = clock
        self._uses: OrderedDict[str, _Use] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def admit(self, key: ApiKey) -> Iterator[None]:
        """Raises `TooManyRequests`; a request that is refused does not count."""
        with self._lock:
            use = self._use(key)
            if use.running >= key.concurrent_max:
                raise TooManyRequests(1, f"This API key may make {key.concurrent_max} requests at once.")
            if use.left < 1:
                wait_s = math.ceil((1 - use.left) * 60 / key.requests_per_minute)
                raise TooManyRequests(
                    wait_s, f"This API key may make {key.requests_per_minute} requests a minute."
                )
            use.left -= 1
            use.running += 1
        try:
            yield
        finally:
            with self._lock:
                use.running -= 1

    def _use(self, key: ApiKey) -> _Use:
        now = self._clock()
        use = self._uses.setdefault(key.prefix, _Use(key.requests_per_minute, now))
        self._uses.move_to_end(key.prefix)
        back = (now - use.counted_at) * key.requests_per_minute / 60
        use.left, use.counted_at = min(key.requests_per_minute, use.left + back), now
        idle = (prefix for prefix, one in self._uses.items() if not one.running and one is not use)
        while len(self._uses) > self._keys_max and (oldest := next(idle, None)):
            del self._uses[oldest]
            idle = (prefix for prefix, one in self._uses.items() if not one.running and one is not use)
        return use
