"""Keeps pynetdicom's own thread from taking the answer that a request of ours waits for.

Before a request its sender clears an event, waits until the thread says that it is paused, and then sends. The thread
says so before it looks at the event and takes it back after it has passed, so one that has just passed still seems
paused: it takes the answer, logs an unexpected message, and the sender waits for its whole time-out. On a busy machine
that happens about once in a thousand requests. Here passing and taking it back are one step.
"""

from __future__ import annotations

import threading
from typing import Any

_LOOK_UP_S = 0.05


class ReactorPause(threading.Event):
    """Takes the place of the event at which the thread of an association stops."""

    def __init__(self, link: Any) -> None:
        super().__init__()
        self._link = link
        self._passing = threading.Lock()
        self.is_reached = threading.Event()
        self.set()

    def clear(self) -> None:
        with self._passing:
            super().clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Called by the thread of the association alone, which has said before that it is paused."""
        self.is_reached.set()
        while super().wait(timeout):
            with self._passing:
                if self.is_set():
                    self._link._is_paused = False
                    return True
        return False


def settle_reactor(link: Any) -> None:
    """Give an open association, on which nothing was requested yet, the pause that cannot be misread."""
    pause = ReactorPause(link)
    link._reactor_checkpoint = pause
    while not pause.is_reached.wait(_LOOK_UP_S) and link.is_alive():
        pass
