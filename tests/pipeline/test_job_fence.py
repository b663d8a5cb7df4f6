"""Jobs of workers that are gone are freed once; who comes back cannot touch what is another's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import procrastinate
import psycopg
import pytest
from procrastinate import PsycopgConnector
from procrastinate.jobs import Job, Status

from pipeline.job_fence import FencedJobs
from pipeline.queue import CONNECTION, QUEUE

GONE_AFTER_S = 10.0


class Desk:
    """One queue and two workers, of which the first is silent as long as wanted."""

    def __init__(self, app: procrastinate.App, url: str) -> None:
        self.fence, self.url = FencedJobs(app.connector), url

    async def register(self) -> int:
        return await self.fence.register_worker()

    async def take(self, worker: int) -> Job:
        job = await self.fence.fetch_job(queues=[QUEUE], worker_id=worker)
        assert job is not None
        return job

    def row(self) -> tuple[str, int, int | None, float] | None:
        """status, attempts, worker_id, seconds until it is due"""
        with psycopg.connect(self.url) as conn:
            return conn.execute("""SELECT status::text, attempts, worker_id,
                coalesce(extract(epoch FROM scheduled_at - now()), 0)::float FROM procrastinate_jobs""").fetchone()

    def silence(self, worker: int, seconds: float) -> None:
        with psycopg.connect(self.url) as conn:
            conn.execute(
                """UPDATE procrastinate_workers SET last_heartbeat = now() - make_interval(secs => %s)
                   WHERE id = %s""",
                (seconds, worker),
            )


@pytest.fixture
def on_a_desk(migrated_url: str) -> Callable[[Callable[[Desk], Awaitable[None]]], None]:
    """Runs a test's coroutine with a queue that holds one job."""

    @asynccontextmanager
    async def desk() -> AsyncIterator[Desk]:
        app = procrastinate.App(
            connector=PsycopgConnector(conninfo=migrated_url, kwargs=CONNECTION, min_size=1)
        )
        async with app.open_async():
            await app.configure_task("take_step", queue=QUEUE, allow_unknown=True).defer_async(study_id="1")
            yield Desk(app, migrated_url)

    def run(test: Callable[[Desk], Awaitable[None]]) -> None:
        async def within() -> None:
            async with desk() as made:
                await test(made)

        asyncio.run(within())

    return run


def test_a_worker_that_lives_keeps_its_job(on_a_desk: Callable[..., None]) -> None:
    async def test(desk: Desk) -> None:
        worker = await desk.register()
        await desk.take(worker)
        desk.silence(worker, GONE_AFTER_S - 3)
        assert await desk.fence.free_stalled_jobs(GONE_AFTER_S) == []

    on_a_desk(test)


def test_several_that_notice_a_death_together_free_the_job_once(on_a_desk: Callable[..., None]) -> None:
    async def test(desk: Desk) -> None:
        worker = await desk.register()
        job = await desk.take(worker)
        desk.silence(worker, GONE_AFTER_S + 1)
        freed = await asyncio.gather(*(desk.fence.free_stalled_jobs(GONE_AFTER_S) for _ in range(4)))
        assert [one for several in freed for one in several] == [job.id]
        row = desk.row()
        assert row is not None
        assert row[:2] == ("todo", 1)
        assert row[3] <= 0, "it is due at once"

    on_a_desk(test)


@pytest.mark.parametrize("end", ["finish", "retry"])
def test_who_comes_back_cannot_end_the_job_of_another(
    on_a_desk: Callable[..., None], end: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(desk: Desk) -> None:
        first, second = await desk.register(), await desk.register()
        lost = await desk.take(first)
        desk.silence(first, GONE_AFTER_S + 1)
        await desk.fence.free_stalled_jobs(GONE_AFTER_S)
        taken = await desk.take(second)
        assert (taken.id, taken.attempts) == (lost.id, 1)
        if end == "finish":
            await desk.fence.finish_job(lost, Status.SUCCEEDED, delete_job=True)
        else:
            await desk.fence.retry_job(lost)
        row = desk.row()
        assert row is not None
        assert row[:3] == ("doing", 1, second)
        assert "job_was_taken_over" in caplog.text
        caplog.clear()
        await desk.fence.finish_job(taken, Status.SUCCEEDED, delete_job=True)
        assert desk.row() is None
        assert caplog.text == "", "its own job was its own"

    on_a_desk(test)


def test_the_same_worker_cannot_end_a_later_try_with_the_answer_of_an_earlier_one(
    on_a_desk: Callable[..., None],
) -> None:
    async def test(desk: Desk) -> None:
        worker = await desk.register()
        lost = await desk.take(worker)
        desk.silence(worker, GONE_AFTER_S + 1)
        await desk.fence.free_stalled_jobs(GONE_AFTER_S)
        await desk.take(worker)
        await desk.fence.finish_job(lost, Status.FAILED, delete_job=False)
        row = desk.row()
        assert row is not None
        assert row[0] == "doing"

    on_a_desk(test)


def test_when_it_is_tried_again_is_said_by_the_databases_clock(
    on_a_desk: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node an hour ahead asks for a pause of thirty seconds."""

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + timedelta(hours=1)

    monkeypatch.setattr("pipeline.job_fence.datetime", Ahead)

    async def test(desk: Desk) -> None:
        job = await desk.take(await desk.register())
        await desk.fence.retry_job(job, retry_at=datetime.now(UTC) + timedelta(hours=1, seconds=30))
        row = desk.row()
        assert row is not None
        assert row[0] == "todo"
        assert 25 < row[3] < 31

    on_a_desk(test)
