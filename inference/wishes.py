"""What a run should be besides right: how urgent, and whether anybody still waits for it.

Handed down beside the port, since only an engine with a queue of its own has a use for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


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
