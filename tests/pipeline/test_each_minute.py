"""What a worker looks after beside its queues goes on, whatever one round of it came to."""

from __future__ import annotations

import asyncio
import logging

import pytest

from pipeline.jobs import _look_each_minute


def test_a_round_that_fails_is_logged_and_the_next_one_comes(caplog: pytest.LogCaptureFixture) -> None:
    rounds = []

    def work() -> None:
        rounds.append(len(rounds))
        if len(rounds) == 1:
            raise OSError("the database is away")

    async def run() -> None:
        task = asyncio.create_task(_look_each_minute(work, pause_s=0.01))
        while len(rounds) < 3:
            await asyncio.sleep(0.01)
        task.cancel()

    with caplog.at_level(logging.ERROR):
        asyncio.run(asyncio.wait_for(run(), 20))
    assert [record.message for record in caplog.records] == ["work_of_the_minute_failed"]
