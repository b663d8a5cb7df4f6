"""A worker whose queue cannot be read any more ends, and not as one does that was told to."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import jobs
from pipeline.errors import QueueLost
from pipeline.queue import DELIVERY_QUEUE


class ConnectionGone(Exception):
    pass


@asynccontextmanager
async def _opened() -> Any:
    yield


APP: Any = SimpleNamespace(open_async=_opened)


def work(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """One of the queues ends; the others are at work until they are told."""

    async def work_on(_: object, queue: str, *__: object) -> None:
        if queue == DELIVERY_QUEUE and how != "told":
            if how == "by an error":
                raise ConnectionGone
            return
        if how == "told":
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(60)

    async def nothing(*_: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(jobs, "_work_on", work_on)
    monkeypatch.setattr(jobs, "_free_stalled_jobs", nothing)
    asyncio.run(jobs.run_worker(APP, concurrency=1, drain_s=1.0, takeover_s=5.0))


@pytest.mark.parametrize(("how", "cause"), [("in silence", type(None)), ("by an error", ConnectionGone)])
def test_a_queue_that_ends_by_itself_is_lost(
    monkeypatch: pytest.MonkeyPatch, how: str, cause: type[object]
) -> None:
    with pytest.raises(QueueLost) as lost:
        work(monkeypatch, how)
    assert isinstance(lost.value.__cause__, cause)


def test_who_is_told_to_end_has_lost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    work(monkeypatch, "told")
