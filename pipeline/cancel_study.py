"""A person takes a study off its path before its models have answered."""

from __future__ import annotations

from uuid import UUID

from pipeline import store
from pipeline.database import Connection
from pipeline.errors import NotCancellable
from pipeline.finish import record_outcome
from pipeline.progress import end_progress
from pipeline.status import StudyStatus

CANCELLED = "CANCELLED"
CANCELLABLE = frozenset({StudyStatus.ASSEMBLED, StudyStatus.ROUTED, StudyStatus.HELD, StudyStatus.DECODED})
"""While it arrives it is discarded instead; once the models have answered, the result is delivered."""


def cancel_study(conn: Connection, tenant: str, study_id: UUID | str, by: str) -> None:
    """Reject the study with the reason that a person cancelled it; a run under way finds out and gives up.

    Raises `NotCancellable` in any other state.
    """
    study = store.lock_study(conn, tenant, study_id)
    if study.status not in CANCELLABLE:
        raise NotCancellable(study.id, study.status)
    end_progress(conn, study)
    text = f"Cancelled by {by} before the models had answered."
    after = store.advance(
        conn, study, StudyStatus.REJECTED, reason=(CANCELLED, text), detail={"by": by, "was": study.status}
    )
    record_outcome(conn, after, unchanged=False)
