"""A study that failed begins anew with the images that are here: on a person's word, or when it is sent again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline import deliveries, store
from pipeline.database import Connection
from pipeline.status import StudyStatus
from pipeline.store import StudyRecord


def may_begin_anew(study: StudyRecord) -> bool:
    """Whether nothing came of it; a result that did not get where it must is sent again instead."""
    return study.status is StudyStatus.FAILED and study.reason_code not in deliveries.FAILURES


def begin_anew(
    conn: Connection,
    study: StudyRecord,
    defer_step: Callable[[Connection, StudyRecord], None],
    **detail: Any,
) -> None:
    """Its next revision, with all its attempts. detail: of the event on the timeline."""
    after = store.advance(conn, study, StudyStatus.ASSEMBLED, detail=detail, revision=study.revision + 1)
    defer_step(conn, after)
