"""Route step: read the headers of what was received and choose the series for each of the tenant's models."""

from __future__ import annotations

import hashlib
from typing import Any

from dicom_gateway.inspect import InspectedStudy, InspectError, inspect_study
from pipeline import store
from pipeline.database import Connection
from pipeline.errors import StudyRefused
from pipeline.route import Route, choose
from pipeline.services import Outcome, Services
from pipeline.status import StudyStatus
from pipeline.store import StudyRecord
from pipeline.study_file import save_study
from study.study import Series, Study


def route_study(services: Services, record: StudyRecord) -> Outcome:
    """Inspect the study and route it. A study that no model reads is refused by the nearest miss."""
    with services.database.transaction(record.tenant) as conn:
        rows = store.instances(conn, record.tenant, record.id)
        models = store.get_tenant(conn, record.tenant)["models"]
        earlier = store.results(conn, record.tenant, record.id)
    if not rows:
        raise StudyRefused(
            "INSTANCES_IN_CONFLICT",
            "Every instance that came carries a SOP Instance UID that was received before in another study.",
        )
    inspected = _inspect(services, rows)
    save_study(services.folders.work_of(record), inspected.study)
    header = header_of(inspected.study)
    digests = {row["location"]: row["blake3"] for row in rows}
    choices: list[dict[str, Any]] = []
    misses = []
    for name in models:
        chosen = choose(inspected.study, services.get_model(name).manifest)
        if isinstance(chosen, Route):
            series = inspected.study.series_of(chosen.series_instance_uid)
            choices.append(chosen.as_json() | {"input_digest": input_digest(series, digests)})
        else:
            misses.append(chosen)

    def save(conn: Connection, study: StudyRecord) -> None:
        store.set_header(conn, study, header)
        store.set_route(conn, study, choices)

    if not choices:
        nearest = misses[0]
        return Outcome(save, gives=StudyStatus.REJECTED, reason=(nearest.code, nearest.text))
    detail = {
        "explanation": [choice["explanation"] for choice in choices],
        "unreadable": len(inspected.unreadable),
        "notes": list(inspected.notes),
    }
    if _all_known(choices, earlier):
        return Outcome(save, detail, gives=StudyStatus.DELIVERED, unchanged=True)
    return Outcome(save, detail)


def _inspect(services: Services, rows: list[dict[str, Any]]) -> InspectedStudy:
    files = [(row["location"], services.folders.instances / row["location"]) for row in rows]
    try:
        return inspect_study(files)
    except InspectError as error:
        raise StudyRefused("HEADERS_UNREADABLE", f"The instances cannot be read: {error}.") from error


def input_digest(series: Series, digest_of: dict[str, str]) -> str:
    """Digest of what a model reads: SOP Instance UIDs and contents, in a stable order."""
    lines = sorted(f"{one.sop_instance_uid} {digest_of[one.location]}" for one in series.instances)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def header_of(study: Study) -> dict[str, str]:
    """What the work list and the report show of a study."""
    return {
        "patient_id": study.patient.patient_id,
        "patient_name": study.patient.name,
        "patient_birth_date": study.patient.birth_date,
        "patient_sex": study.patient.sex,
        "accession_number": study.accession_number,
        "study_date": study.study_date,
        "study_time": study.study_time,
        "description": study.description,
    }


def _all_known(choices: list[dict[str, Any]], earlier: list[dict[str, Any]]) -> bool:
    """Whether every chosen input has a delivered result of the same version: late instances changed nothing."""
    known = {
        (row["product"], row["model_version"], row["input_digest"]) for row in earlier if row["is_delivered"]
    }
    return all((one["product"], one["model_version"], one["input_digest"]) in known for one in choices)
