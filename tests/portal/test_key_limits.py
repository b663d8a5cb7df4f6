"""How often an API key may ask, by a clock of the test's own."""

from __future__ import annotations

import pytest

from portal.auth import ApiKey
from portal.errors import TooManyRequests
from portal.key_limits import KeyLimits


def test_requests_come_back_evenly_and_only_so_many_run_at_once() -> None:
    now = [0.0]
    limits = KeyLimits(clock=lambda: now[0])
    key = ApiKey("t", "p", "l", None, None, requests_per_minute=6, concurrent_max=2)
    with limits.admit(key), limits.admit(key), pytest.raises(TooManyRequests), limits.admit(key):
        pass
    for _ in range(4):
        with limits.admit(key):
            pass
    with pytest.raises(TooManyRequests) as told, limits.admit(key):
        pass
    assert told.value.retry_after_s == 10
    now[0] = 10.0
    with limits.admit(key):
        pass
    with pytest.raises(TooManyRequests), limits.admit(key):
        pass


def test_a_key_that_is_forgotten_was_not_being_answered() -> None:
    limits = KeyLimits(keys_max=2, clock=lambda: 0.0)
    one, two, three = (ApiKey("t", name, "l", None, None, 60, concurrent_max=1) for name in ("1", "2", "3"))
    with limits.admit(one):
        for key in (two, three, two, three):
            with limits.admit(key):
                pass
        with pytest.raises(TooManyRequests), limits.admit(one):
            pass
