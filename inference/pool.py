"""Opened models: warm while they are in use, opened when first needed, closed when memory runs short."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.engine import Engine
from inference.errors import ModelTooLarge
from models.errors import WeightsMissing
from models.model import Model
from models.weights import verified, weights_for

# Measured for files of 4 to 20 MB: a session of either engine holds 1.7 times the file when it is opened and 3 times
# with the weights that it rearranges in its first run, beside some fixed part.
_TIMES_FILE, _FIXED_BYTES = 3, 16 << 20


def _nothing(session: Any) -> None:
    """What most sessions need when their last user leaves."""


@dataclass
class _Opened:
    size_bytes: int
    session: Any = None
    is_open: bool = False
    users: int = 1
    at_rest: Callable[[Any], None] = _nothing
    is_resting: bool = False


class SessionPool:
    """Sessions by key, together never above `memory_bytes_max`; several engines may share a pool.

    What nobody uses and was used least recently is closed first. Who needs room that others are using waits for them.
    """

    def __init__(self, memory_bytes_max: int) -> None:
        self._memory_bytes_max = memory_bytes_max
        self._sessions: OrderedDict[Hashable, _Opened] = OrderedDict()
        self._changed = threading.Condition()

    @property
    def keys(self) -> tuple[Hashable, ...]:
        """What is open now, the least recently used first."""
        with self._changed:
            return tuple(self._sessions)

    def opened(
        self,
        engine: Engine,
        model: Model,
        open_session: Callable[[Path], Any],
        at_rest: Callable[[Any], None] = _nothing,
    ) -> AbstractContextManager[Any]:
        """The model's session on an engine for a while. `open_session` gets the path of verified weights."""
        weights = weights_for(model.manifest, engine.precision)
        path = model.manifest.folder / weights.file
        if not path.is_file():
            raise WeightsMissing(path)
        size_bytes = _FIXED_BYTES + _TIMES_FILE * path.stat().st_size
        key = (engine, weights.sha256)
        return self.lease(key, size_bytes, lambda: open_session(verified(model.manifest, weights)), at_rest)

    @contextmanager
    def lease(
        self,
        key: Hashable,
        size_bytes: int,
        open_session: Callable[[], Any],
        at_rest: Callable[[Any], None] = _nothing,
    ) -> Iterator[Any]:
        """The session of `key` for a while; several threads may have it at once.

        open_session: opens it if it is not there; its errors pass. at_rest: called when nobody uses the session and
        another model is about to run: what it holds between two runs of its own need not be held through those.
        Raises `ModelTooLarge` for what would not fit into the memory alone.
        """
        if size_bytes > self._memory_bytes_max:
            raise ModelTooLarge(size_bytes, self._memory_bytes_max)
        opened, is_new = self._take(key, size_bytes)
        opened.at_rest = at_rest
        if is_new:
            self._open(key, opened, open_session)
        self._rest_others(key)
        opened.is_resting = False
        try:
            yield opened.session
        finally:
            with self._changed:
                opened.users -= 1
                self._changed.notify_all()

    def forget(self, session: Any) -> None:
        """Open anew what this session is of: it is of no use any more. Who has it keeps it till then."""
        with self._changed:
            for key in [key for key, one in self._sessions.items() if one.session is session]:
                del self._sessions[key]
            self._changed.notify_all()

    def _take(self, key: Hashable, size_bytes: int) -> tuple[_Opened, bool]:
        """The entry of `key`, counted as used; True when this thread has to open it."""
        with self._changed:
            while True:
                opened = self._sessions.get(key)
                if opened is None and self._make_room(size_bytes):
                    self._sessions[key] = opened = _Opened(size_bytes)
                    return opened, True
                if opened is not None and opened.is_open:
                    opened.users += 1
                    self._sessions.move_to_end(key)
                    return opened, False
                self._changed.wait()

    def _make_room(self, size_bytes: int) -> bool:
        """Close what nobody uses until `size_bytes` more fit; False when they do not yet."""
        free = self._memory_bytes_max - sum(one.size_bytes for one in self._sessions.values())
        idle = [(key, one.size_bytes) for key, one in self._sessions.items() if not one.users]
        if free + sum(size for _, size in idle) < size_bytes:
            return False
        for key, size in idle:
            if free >= size_bytes:
                break
            del self._sessions[key]
            free += size
        return True

    def _rest_others(self, key: Hashable) -> None:
        with self._changed:
            for other, one in self._sessions.items():
                if other != key and one.is_open and not one.users and not one.is_resting:
                    one.at_rest(one.session)
                    one.is_resting = True

    def _open(self, key: Hashable, opened: _Opened, open_session: Callable[[], Any]) -> None:
        """Outside the lock: other models run meanwhile. Who waits for this one tries for itself if it fails."""
        try:
            opened.session = open_session()
            opened.is_open = True
        finally:
            with self._changed:
                if not opened.is_open:
                    del self._sessions[key]
                self._changed.notify_all()
