"""Fetch one prior from the archive: C-MOVE to ourselves, C-GET or WADO-RS. A durable job."""

from __future__ import annotations

import logging
from uuid import UUID

import procrastinate

from dicom_gateway import retrieve_dicomweb, retrieve_dimse
from dicom_gateway.dicomweb_client import DicomWebServer
from dicom_gateway.instance_store import InstanceStore
from dicom_gateway.peers import Peer
from dicom_gateway.retrieved_instances import RetrievedInstances, RetrieveLimits, RetrieveOutcome
from pipeline import prior_studies, store
from pipeline.archives import Archive, archive_of
from pipeline.database import Connection, Database, database_time
from pipeline.queue import ARCHIVE_QUEUE
from pipeline.receive import DatabaseSink
from pipeline.services import Folders
from study.sentences import say

log = logging.getLogger("radmeter.archives")

_TIME_S = 1800.0
_DELAYS_S = (60.0, 600.0, 3600.0)


def defer_fetch(
    queue: procrastinate.App,
    conn: Connection,
    tenant: str,
    study_id: UUID,
    prior_uid: str,
    images_max: int,
    attempt: int = 0,
) -> None:
    """Fetch a prior, in the caller's transaction. One at a time for the same prior."""
    at = database_time(conn, _DELAYS_S[attempt - 1]) if attempt else None
    queue.configure_task(
        "fetch_prior", queue=ARCHIVE_QUEUE, lock=f"prior-{prior_uid}", schedule_at=at, connection=conn
    ).defer(
        tenant=tenant,
        study_id=str(study_id),
        prior_uid=prior_uid,
        images_max=images_max,
        attempt=attempt,
    )


def fetch_prior(
    database: Database,
    queue: procrastinate.App,
    folders: Folders,
    tenant: str,
    study_id: str,
    prior_uid: str,
    images_max: int,
    attempt: int,
    *,
    sink: DatabaseSink,
) -> None:
    """The job: nothing to do when the study has come in the meantime, else fetch it and say what became of it."""
    with database.transaction(tenant) as conn:
        study = store.get_study(conn, tenant, study_id)
        archive = archive_of(conn, tenant, study.ae_title, database.masters, database.secrets)
        here = prior_studies.find_by_uid(conn, tenant, prior_uid)
        # A part of it may have come with an earlier attempt; then it is still a prior and fetched again.
        is_done = here is not None and not (here["purpose"] == "prior" and attempt)
        if is_done:
            prior_studies.set_state(conn, tenant, study.id, prior_uid, "here", None)
            prior_studies.link(conn, tenant, prior_uid)
        elif archive is not None:
            prior_studies.expect(conn, tenant, prior_uid, _TIME_S + prior_studies.GRACE_S)
    if is_done:
        return
    if archive is None:
        outcome = RetrieveOutcome(0, 0, "no archive is set for the sender")
    else:
        outcome = retrieve(archive, folders.instance_store(), sink, tenant, prior_uid, images_max)
    with database.transaction(tenant) as conn:
        prior_studies.expect_no_more(conn, tenant, prior_uid)
        if outcome.error is None and outcome.completed:
            prior_studies.set_state(conn, tenant, study.id, prior_uid, "here", None)
            prior_studies.link(conn, tenant, prior_uid)
            store.note(conn, study, "prior_fetched", detail={"instances": outcome.completed})
        else:
            reason = outcome.error or say("ARCHIVE_SENT_NOTHING")
            prior_studies.set_state(conn, tenant, study.id, prior_uid, "failed", reason)
            store.note(conn, study, "prior_not_fetched", detail={"reason": reason})
            if archive is not None and attempt < len(_DELAYS_S):
                defer_fetch(queue, conn, tenant, study.id, prior_uid, images_max, attempt + 1)
    log.info(
        "prior_retrieved",
        extra={"tenant": tenant, "study": study_id, "completed": outcome.completed, "failed": outcome.failed},
    )


def retrieve(
    archive: Archive,
    instance_store: InstanceStore,
    sink: DatabaseSink,
    tenant: str,
    study_instance_uid: str,
    images_max: int,
) -> RetrieveOutcome:
    """By the way that the archive's peer is set to; never raises for what the archive does."""
    if archive.problem is not None:
        return RetrieveOutcome(0, 0, archive.problem)
    limits = RetrieveLimits(instances_max=images_max, time_s=_TIME_S)
    if archive.retrieve == "move" and not isinstance(archive.node, DicomWebServer):
        return retrieve_dimse.move(archive.node, study_instance_uid, limits)
    instances = RetrievedInstances(
        instance_store, sink, Peer(tenant, archive.peer_ae_title), study_instance_uid, limits
    )
    try:
        if isinstance(archive.node, DicomWebServer):
            return retrieve_dicomweb.retrieve(archive.node, study_instance_uid, instances)
        return retrieve_dimse.get(archive.node, study_instance_uid, instances)
    finally:
        instances.close("released")
        instance_store.close()
