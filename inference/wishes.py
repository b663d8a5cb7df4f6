"""What a run should be besides right: how urgent, and whether anybody still waits for it.

Handed down beside the port: the answer is the same with and without.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

# How often who runs or waits asks whether anybody still waits for it.
ASKED_EVERY_S = 0.5


@dataclass(frozen=True)
class Wishes:
    """priority: the smaller, the sooner; 0 is an emergency. is_cancelled: may be asked from another thread."""

    priority: int = 1
    is_cancelled: Callable[[], bool] | None = None


_WISHES: ContextVar[Wishes] = ContextVar("wishes", default=Wishes())  # noqa: B039 it is frozen


def wishes() -> Wishes:
    """Those of the run in progress."""
    return _WISHES.get()


@contextmanager
def wishing(one: Wishes) -> Iterator[None]:
    """Runs inside are made with these wishes."""
    token = _WISHES.set(one)
    try:
        yield
    finally:
        _WISHES.reset(token)


@contextmanager
def breaking_off(break_off: Callable[[], object]) -> Iterator[Callable[[], bool]]:
    """While this lasts, `break_off` is called once when nobody waits for the run any more; gives whether it was.

    It may still be called a moment after the end: it must do no harm then.
    """
    is_cancelled = wishes().is_cancelled
    was_broken_off, has_ended = threading.Event(), threading.Event()

    def watch(is_cancelled: Callable[[], bool]) -> None:
        while not has_ended.wait(ASKED_EVERY_S):
            if is_cancelled():
                was_broken_off.set()
                break_off()
                return

    if is_cancelled is not None:
        # Not waited for: it may be asking a database that does not answer.
        threading.Thread(target=watch, args=(is_cancelled,), daemon=True, name="break-off").start()
    try:
        yield was_broken_off.is_set
    finally:
        has_ended.set()
