"""How far a study's models have come, for people who wait for it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg

from pipeline.database import Connection, Database
from pipeline.status import StudyStatus
from pipeline.store import StudyRecord

TOLD_EVERY_S = 1.0
ASKED_EVERY_S = 2.0


@dataclass
class Following:
    """One study under inference: what it has done is told to the database, and asked is whether anybody wants it still.

    Neither is done more often than the constants above say, and neither fails the study.
    """

    database: Database
    study: StudyRecord
    clock: Callable[[], float] = time.monotonic
    _told_at: float = field(default=float("-inf"), init=False)
    _asked_at: float = field(default=float("-inf"), init=False)
    _is_cancelled: bool = field(default=False, init=False)

    def tell(self, model: str, done: int, total: int) -> None:
        """Runs done of a model, and their number."""
        now = self.clock()
        if 0 < done < total and now - self._told_at < TOLD_EVERY_S:
            return
        self._told_at = now
        with contextlib.suppress(psycopg.Error), self.database.transaction(self.study.tenant) as conn:
            conn.execute(
                """INSERT INTO study_progress (tenant, study_id, model, done, total)
                   SELECT tenant, id, %s, %s, %s FROM study
                   WHERE tenant = %s AND id = %s AND status = %s AND revision = %s
                   ON CONFLICT (tenant, study_id, model)
                   DO UPDATE SET done = excluded.done, total = excluded.total, updated_at = now()""",
                (
                    model,
                    done,
                    total,
                    self.study.tenant,
                    self.study.id,
                    self.study.status,
                    self.study.revision,
                ),
            )

    def is_cancelled(self) -> bool:
        """Whether the study was cancelled, or began anew with more images."""
        now = self.clock()
        if not self._is_cancelled and now - self._asked_at >= ASKED_EVERY_S:
            self._asked_at = now
            with contextlib.suppress(psycopg.Error), self.database.transaction(self.study.tenant) as conn:
                row = conn.execute(
                    "SELECT status, revision FROM study WHERE tenant = %s AND id = %s",
                    (self.study.tenant, self.study.id),
                ).fetchone()
                expected = {"status": self.study.status.value, "revision": self.study.revision}
                self._is_cancelled = row != expected
        return self._is_cancelled


def progress_of(conn: Connection, tenant: str, study_id: UUID) -> list[dict[str, Any]]:
    """Model, runs done and their number, in the order in which the models began."""
    return conn.execute(
        """SELECT model, done, total FROM study_progress WHERE tenant = %s AND study_id = %s
           ORDER BY began_at, model""",
        (tenant, study_id),
    ).fetchall()


def end_progress(conn: Connection, study: StudyRecord) -> None:
    """Nothing is under way any more when a study leaves the step in which models run."""
    if study.status is StudyStatus.DECODED:
        conn.execute(
            "DELETE FROM study_progress WHERE tenant = %s AND study_id = %s", (study.tenant, study.id)
        )
