"""Ports for servers that a test starts in a moment."""

from __future__ import annotations

import contextlib
import os
import random
import socket

_FIRST, _COUNT = 10_000, 2_500
"""Below the ports that the system gives to connections; each test process draws from a range of its own."""
_given: set[int] = set()


def free_port() -> int:
    """A loopback port that nobody has, and that nobody else is given before the test's server binds it."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    start = _FIRST + worker % 8 * _COUNT
    while True:
        if len(_given) > _COUNT // 2:
            _given.clear()
        port = random.randrange(start, start + _COUNT)
        if port in _given:
            continue
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            return port
