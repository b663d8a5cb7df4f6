"""Studies and their results."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from pipeline import store, work_list
from pipeline.database import Connection
from pipeline.status import TERMINAL, StudyStatus
from pipeline.work_list import Filter
from portal.api.metered import MeteredRoute
from portal.api.shapes import (
    ModelIdentity,
    Reason,
    Result,
    ResultObject,
    StudyEvent,
    StudyList,
    StudyResult,
    StudySearch,
    StudySummary,
)
from portal.context import SEES_STUDIES, Identity
from portal.requests import Context, parse_id, program_or_person

router = APIRouter(prefix="/api/v1/studies", tags=["studies"], route_class=MeteredRoute)

Reader = Annotated[Identity, Depends(program_or_person(SEES_STUDIES))]


@router.get("")
def list_studies(
    context: Context,
    identity: Reader,
    status: StudyStatus | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    before: Annotated[datetime | None, Query(description="only studies received before this instant")] = None,
) -> StudyList:
    """The tenant's studies, newest first."""
    with context.database.transaction(identity.tenant) as conn:
        rows = work_list.newest_studies(
            conn, identity.tenant, Filter(status=status), limit=limit, before=before
        )
    return _listing(rows, limit)


@router.post("/search")
def search_studies(context: Context, identity: Reader, search: StudySearch) -> StudyList:
    """Studies whose header or id holds the text, newest first."""
    with context.database.transaction(identity.tenant) as conn:
        rows = work_list.newest_studies(conn, identity.tenant, Filter(search=search.text), limit=search.limit)
    return _listing(rows, search.limit)


@router.get("/{study_id}")
def get_study(context: Context, identity: Reader, study_id: str) -> StudySummary:
    """One study."""
    with context.database.transaction(identity.tenant) as conn:
        return _summary(vars(store.get_study(conn, identity.tenant, parse_id(study_id))))


@router.get("/{study_id}/events")
def get_timeline(context: Context, identity: Reader, study_id: str) -> list[StudyEvent]:
    """What happened to the study, oldest first."""
    with context.database.transaction(identity.tenant) as conn:
        study = store.get_study(conn, identity.tenant, parse_id(study_id))
        return [StudyEvent(**row) for row in store.study_events(conn, identity.tenant, study.id)]


@router.get("/{study_id}/result")
def get_result(context: Context, identity: Reader, study_id: str) -> StudyResult:
    """Findings and delivery of the present revision, and of earlier ones whose results stand."""
    with context.database.transaction(identity.tenant) as conn:
        study = store.get_study(conn, identity.tenant, parse_id(study_id))
        results = _results(conn, study)
    status = study.status.value if study.status in TERMINAL else "in_progress"
    return StudyResult(
        study_id=study.id,
        study_instance_uid=study.study_instance_uid,
        status="completed" if study.status is StudyStatus.DELIVERED else status,
        reason=_reason(vars(study)),
        results=results,
    )


def _results(conn: Connection, study: store.StudyRecord) -> list[Result]:
    objects = store.result_objects(conn, study.tenant, study.id)
    return [
        Result(
            **{key: row[key] for key in ("product", "revision", "findings", "timing_s", "created_at")},
            statements=row["answer"].get("classifications", []),
            structures=row["answer"].get("structures", []),
            notes=row["answer"].get("notes", []),
            model=ModelIdentity(
                name=row["model_name"], version=row["model_version"], weights_sha256=row["weights_sha256"]
            ),
            objects=[
                ResultObject(**one)
                for one in objects
                if (one["product"], one["revision"]) == (row["product"], row["revision"])
            ],
        )
        for row in store.present_results(conn, study)
    ]


def _listing(rows: list[dict[str, Any]], limit: int) -> StudyList:
    next_before = rows[-1]["created_at"] if len(rows) == limit else None
    return StudyList(studies=[_summary(row) for row in rows], next_before=next_before)


def _summary(row: dict[str, Any]) -> StudySummary:
    return StudySummary(**{**row, "reason": _reason(row)})


def _reason(row: dict[str, Any]) -> Reason | None:
    return Reason(code=row["reason_code"], text=row["reason_text"] or "") if row["reason_code"] else None
