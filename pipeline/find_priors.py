"""Priors by rule: ask the archive for a patient's earlier studies and fetch those that the rule wants. Durable jobs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import procrastinate

from dicom_gateway.archive_match import Match, QueryLimits
from pipeline import prior_studies, store
from pipeline.archives import Archive, archive_of
from pipeline.database import Connection, Database, database_time
from pipeline.fetch_prior import defer_fetch
from pipeline.prior_rule import Candidate, CurrentStudy, PriorsRule, choose_priors
from pipeline.queue import ARCHIVE_QUEUE
from pipeline.store import StudyRecord

log = logging.getLogger("radmeter.archives")

_LIMITS = QueryLimits(matches_max=300, time_s=20.0)
_SERIES_LIMITS = QueryLimits(matches_max=200, time_s=10.0)
# Of studies whose description names no region; each costs a question.
_SERIES_ASKED_MAX = 20
_CANDIDATES_KEPT = 50
_DELAYS_S = (30.0, 300.0, 1800.0)
_WILDCARDS = frozenset("*?\\")


def defer_priors(
    queue: procrastinate.App,
    conn: Connection,
    tenant: str,
    study_id: UUID,
    priors: Mapping[str, Any],
    attempt: int = 0,
) -> None:
    """Look for the priors of a routed study, in the caller's transaction. priors: of the rule that routed it."""
    at = database_time(conn, _DELAYS_S[attempt - 1]) if attempt else None
    queue.configure_task(
        "find_priors", queue=ARCHIVE_QUEUE, lock=f"priors-{study_id}", schedule_at=at, connection=conn
    ).defer(tenant=tenant, study_id=str(study_id), priors=dict(priors), attempt=attempt)


def find_priors(
    database: Database,
    queue: procrastinate.App,
    tenant: str,
    study_id: str,
    priors: Mapping[str, Any],
    attempt: int,
) -> None:
    """The job: what was found is stored with the reasons, what is wanted is fetched by jobs of its own."""
    rule = PriorsRule.from_json(priors)
    with database.transaction(tenant) as conn:
        study = store.get_study(conn, tenant, study_id)
        archive = archive_of(conn, tenant, study.ae_title, database.masters, database.secrets)
        series = store.study_instances_summary(conn, tenant, study.id)
    patient_id = study.header.get("patient_id", "")
    if archive is None or not patient_id or _WILDCARDS & set(patient_id):
        why = "no archive is set for the sender" if archive is None else "the Patient ID cannot be asked for"
        with database.transaction(tenant) as conn:
            store.note(conn, study, "priors_not_asked", detail={"reason": why})
        return
    answer = archive.search("STUDY", {"PatientID": patient_id}, _LIMITS)
    if answer.error is not None:
        with database.transaction(tenant) as conn:
            store.note(conn, study, "priors_not_asked", detail={"reason": answer.error})
            if attempt < len(_DELAYS_S):
                defer_priors(queue, conn, tenant, study.id, priors, attempt + 1)
        return
    modalities = frozenset(row["modality"] for row in series)
    chosen = _choose(archive, study, modalities, answer.matches, rule)
    with database.transaction(tenant) as conn:
        wanted = _save(conn, queue, store.lock_study(conn, tenant, study.id), chosen, rule)
    log.info("priors_found", extra={"tenant": tenant, "study": study_id, "wanted": wanted})


def _choose(
    archive: Archive,
    study: StudyRecord,
    modalities: frozenset[str],
    matches: tuple[Match, ...],
    rule: PriorsRule,
) -> list[Candidate]:
    """The archive names the issuer of the Patient ID too, where it knows the study itself."""
    itself = next((match for match in matches if match.uid == study.study_instance_uid), None)
    questions = iter(range(_SERIES_ASKED_MAX))

    def regions_of(uid: str, description: str) -> frozenset[str]:
        named = rule.regions_of(description)
        if named or not rule.same_region or next(questions, None) is None:
            return named
        series = archive.search("SERIES", {"StudyInstanceUID": uid}, _SERIES_LIMITS).matches
        return rule.regions_of(
            *(one.get(keyword) for one in series for keyword in ("BodyPartExamined", "SeriesDescription"))
        )

    header = study.header
    current = CurrentStudy(
        study_instance_uid=study.study_instance_uid,
        patient_id=header.get("patient_id", ""),
        issuer=itself.get("IssuerOfPatientID") if itself is not None else "",
        patient_name=header.get("patient_name", ""),
        birth_date=header.get("patient_birth_date", ""),
        study_date=header.get("study_date", ""),
        modalities=modalities,
        regions=regions_of(study.study_instance_uid, header.get("description", "")),
    )
    same_modality = [
        match
        for match in matches
        if not rule.same_modality or modalities & set(match.get("ModalitiesInStudy").split("\\"))
    ]
    found = [
        (
            match,
            regions_of(match.uid, match.get("StudyDescription")) if match in same_modality else frozenset(),
        )
        for match in matches
        if match.uid != study.study_instance_uid
    ]
    return choose_priors(current, found, rule)


def _save(
    conn: Connection,
    queue: procrastinate.App,
    study: StudyRecord,
    chosen: list[Candidate],
    rule: PriorsRule,
) -> int:
    wanted = 0
    for candidate in chosen[:_CANDIDATES_KEPT]:
        uid = candidate.match.uid
        if candidate.why_not is not None:
            prior_studies.save_candidate(
                conn, study, uid, _header(candidate.match), "not_wanted", candidate.why_not
            )
            continue
        wanted += 1
        is_here = prior_studies.find_by_uid(conn, study.tenant, uid) is not None
        prior_studies.save_candidate(
            conn, study, uid, _header(candidate.match), "here" if is_here else "wanted", None
        )
        if is_here:
            prior_studies.link(conn, study.tenant, uid)
        else:
            defer_fetch(queue, conn, study.tenant, study.id, uid, rule.images_max)
    store.note(conn, study, "priors_asked", detail={"found": len(chosen), "wanted": wanted})
    return wanted


def _header(match: Match) -> dict[str, str]:
    """As `study.header` has it."""
    return {
        "patient_id": match.get("PatientID"),
        "patient_name": match.get("PatientName"),
        "patient_birth_date": match.get("PatientBirthDate"),
        "patient_sex": match.get("PatientSex"),
        "accession_number": match.get("AccessionNumber"),
        "study_date": match.get("StudyDate"),
        "study_time": match.get("StudyTime"),
        "description": match.get("StudyDescription"),
    }
