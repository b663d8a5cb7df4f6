"""Perform a workitem: claim it, see that its images are here, and let the study take its usual path.

A durable job. What becomes of the study is written into the workitem as it happens (`workitem_follow.py`). Images are
fetched from archives that are configured for peers alone: an address that a stranger wrote into a workitem is never
asked, it only tells which of those archives is meant.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import procrastinate
from pydicom.uid import generate_uid

from dicom_gateway import workitem
from dicom_gateway.arrival_evidence import Order
from dicom_gateway.dicom_json import DataSet
from dicom_gateway.dicomweb_client import DicomWebServer
from dicom_gateway.workitem import Input, State
from pipeline import peers, prior_studies, retry, store, workitem_follow, workitem_store
from pipeline.archives import Archive, archive_of
from pipeline.database import Connection, Database, database_time
from pipeline.errors import NothingWaits
from pipeline.fetch_prior import retrieve
from pipeline.order_study import order_study
from pipeline.queue import ARCHIVE_QUEUE
from pipeline.receive import DatabaseSink
from pipeline.services import Folders
from pipeline.status import TERMINAL, StudyStatus
from pipeline.store import Row
from pipeline.workitem_follow import now_of

log = logging.getLogger("radmeter.workitems")

IMAGES_MAX = 20_000
# Fetched again after these pauses; images that somebody sends are waited for as long.
DELAYS_S = (5.0, 60.0, 300.0, 1200.0, 3600.0)


def is_ours(attributes: DataSet, called_ae_title: str) -> bool:
    """Whether we are to perform it: its station is ours, or it names none and asks for one of our codes.

    Ours are the AE title of the tenant and RADMETER; a workitem code of scheme 99RADMETER, or computer aided detection
    or diagnosis of DICOM's own.
    """
    stations = {value for value, _ in workitem.codes_of(attributes, workitem.STATION_CODE)}
    if stations:
        return bool(stations & {called_ae_title, workitem_follow.STATION})
    asked = workitem.codes_of(attributes, workitem.WORKITEM_CODE)
    return any(
        scheme == workitem.CODING_SCHEME or (value in ("110003", "110004") and scheme == "DCM")
        for value, scheme in asked
    )


def defer_perform(
    queue: procrastinate.App,
    conn: Connection,
    tenant: str,
    uid: str,
    attempt: int = 0,
    *,
    at: datetime | None = None,
) -> None:
    """Perform it in the caller's transaction's wake. at: not before."""
    if attempt:
        at = database_time(conn, DELAYS_S[attempt - 1])
    queue.configure_task(
        "perform_workitem", queue=ARCHIVE_QUEUE, lock=f"workitem-{uid}", schedule_at=at, connection=conn
    ).defer(tenant=tenant, uid=uid, attempt=attempt)


def perform_workitem(
    database: Database,
    queue: procrastinate.App,
    folders: Folders,
    tenant: str,
    uid: str,
    attempt: int,
    *,
    sink: DatabaseSink,
    tries: int = 0,
) -> None:
    """The job. sink: takes what is fetched.

    tries: earlier runs of this very job, which ended by an error that may pass by itself.
    """
    try:
        _perform(database, queue, folders, tenant, uid, attempt, sink, tries)
    except Exception as error:
        if retry.decide(error, tries) is not None:
            raise
        log.exception("workitem_gave_up", extra={"tenant": tenant})
        with database.transaction(tenant) as conn:
            row = workitem_store.find(conn, tenant, uid, lock=True)
            if row is not None and not State(row["state"]).is_final:
                sentence = f"It could not be performed: {type(error).__name__}."
                workitem_follow.give_up(conn, row, "STEP_GAVE_UP", sentence, now_of(conn))


def _perform(
    database: Database,
    queue: procrastinate.App,
    folders: Folders,
    tenant: str,
    uid: str,
    attempt: int,
    sink: DatabaseSink,
    tries: int,
) -> None:
    with database.transaction(tenant) as conn:
        row = _claimed(conn, tenant, uid)
        if row is None:
            return
        wanted = workitem.inputs_of(row["attributes"])
        problem = _problem(conn, row, wanted)
        if problem is not None:
            workitem_follow.give_up(conn, row, *problem, now_of(conn))
            return
        here = _here(conn, row, wanted[0])
        # Of a study that an earlier try found or fetched in part, the rest is asked for.
        if here is not None and not ((attempt or tries) and here["status"] == StudyStatus.RECEIVING):
            return
        archive = _archive(conn, row, wanted[0], database)
    error = "nobody sent its images, and no archive is known for them"
    if archive is not None:
        uid_of_study = wanted[0].study_instance_uid
        outcome = retrieve(archive, folders.instance_store(), sink, tenant, uid_of_study, IMAGES_MAX)
        error = outcome.error or ("" if outcome.completed else "the archive has no images of it")
    with database.transaction(tenant) as conn:
        now = locked(conn, tenant, uid)
        if now is None or now["state"] != State.IN_PROGRESS:  # somebody has cancelled it in the meantime
            _order(conn, queue, row, Order.DISCARD)
            return
        row = now
        if not error:
            # Who asked said that the images are ready, and the archive gave all of them: nothing more is waited for.
            _order(conn, queue, row, Order.PROCESS)
        here = _here(conn, row, wanted[0])
        is_arriving = here is not None and here["status"] == StudyStatus.RECEIVING
        if here is not None and not (error and is_arriving):
            return
        if attempt < len(DELAYS_S):
            defer_perform(queue, conn, tenant, uid, attempt + 1)
        elif not is_arriving:
            error = error or "the archive has not all that it names"
            workitem_follow.give_up(
                conn, row, "NO_IMAGES", f"Its images are not here: {error}.", now_of(conn)
            )
    log.info("workitem_waits_for_images", extra={"tenant": tenant, "count": attempt + 1})


def locked(conn: Connection, tenant: str, uid: str) -> Row | None:
    """The workitem, after what arrives of its study and the study, as the steps of a study lock them."""
    row = workitem_store.find(conn, tenant, uid)
    study_instance_uid = row["study_instance_uid"] if row is not None else None
    found = prior_studies.find_by_uid(conn, tenant, study_instance_uid) if study_instance_uid else None
    if found is not None:
        store.lock_arriving(conn, tenant, found["id"])
    return workitem_store.find(conn, tenant, uid, lock=True)


def _claimed(conn: Connection, tenant: str, uid: str) -> Row | None:
    """The locked workitem, ours by now; None when somebody else has it, or it has ended or is not ready."""
    row = locked(conn, tenant, uid)
    if row is None:
        return None
    if row["state"] == State.SCHEDULED and row["is_ours"] and workitem.is_ready(row["attributes"]):
        workitem_store.set_state(conn, row, State.IN_PROGRESS, str(generate_uid(prefix=None)), here=True)
        log.info("workitem_claimed", extra={"tenant": tenant, "peer": row["ae_title"]})
        row = workitem_store.find(conn, tenant, uid)
    return row if row and row["state"] == State.IN_PROGRESS and row["performed_here"] else None


def _problem(conn: Connection, row: Row, wanted: Sequence[Input]) -> tuple[str, str] | None:
    """Why it cannot be performed at all: code and sentence."""
    if len({one.study_instance_uid for one in wanted}) != 1:
        return "INPUT_NOT_ONE", "A workitem is performed on the images of one study."
    models = set(store.get_tenant(conn, row["tenant"])["models"])
    asked = {
        value
        for value, scheme in workitem.codes_of(row["attributes"], workitem.WORKITEM_CODE)
        if scheme == workitem.CODING_SCHEME
    }
    if asked and not asked & models:
        return "MODEL_UNKNOWN", "The model that it asks for is not one of this tenant's."
    peer = peers.get_peer(conn, row["tenant"], row["ae_title"])
    if peer is None or not peer["enabled"]:
        return "PEER_UNKNOWN", "The peer that it came from is unknown or switched off."
    return None


def _here(conn: Connection, row: Row, wanted: Input) -> Row | None:
    """The study, if it has come; then the workitem says how far it is. One of which named images miss has not."""
    found = prior_studies.find_by_uid(conn, row["tenant"], wanted.study_instance_uid)
    if found is None or found["purpose"] == "prior":
        return None
    if found["status"] != StudyStatus.RECEIVING:
        missing = conn.execute(
            """SELECT 1 FROM unnest(%s::text[]) AS asked (uid) WHERE NOT EXISTS
               (SELECT 1 FROM instance WHERE tenant = %s AND study_id = %s AND sop_instance_uid = asked.uid)
               LIMIT 1""",
            (list(wanted.sop_instance_uids), row["tenant"], found["id"]),
        ).fetchone()
        if missing is not None:
            return None
    if row["study_id"] is None:
        workitem_store.set_study(conn, row, found["id"])
        if not _begins_again(conn, row, found):
            workitem_follow.say(conn, row, store.get_study(conn, row["tenant"], found["id"]))
    return found


def _begins_again(conn: Connection, row: Row, found: Row) -> bool:
    """Whether its end is not the one that was asked for: images that just came are about to be its next revision."""
    if found["status"] not in TERMINAL:
        return False
    late = conn.execute(
        """SELECT 1 FROM arrival WHERE tenant = %s AND study_id = %s AND closed_at IS NULL AND ordered = %s
             AND new_count > 0""",
        (row["tenant"], found["id"], Order.PROCESS),
    ).fetchone()
    return late is not None


def _order(conn: Connection, queue: procrastinate.App, row: Row, order: Order) -> None:
    """For what was fetched of a locked workitem's study."""
    found = prior_studies.find_by_uid(conn, row["tenant"], row["study_instance_uid"])
    if found is None:
        return
    is_elsewhere_wanted = found["status"] != StudyStatus.RECEIVING or workitem_store.others_want(conn, row)
    if order is Order.DISCARD and is_elsewhere_wanted:
        return
    with contextlib.suppress(NothingWaits):
        order_study(queue, conn, row["tenant"], found["id"], order, by=f"workitem of {row['ae_title']}")


def _archive(conn: Connection, row: Row, wanted: Input, database: Database) -> Archive | None:
    """The archive that the workitem means, if it is one that a peer is set up with; else the requester's own."""
    tenant, opened_by = row["tenant"], (database.masters, database.secrets)
    own = archive_of(conn, tenant, row["ae_title"], *opened_by)
    for peer in peers.list_peers(conn, tenant):
        archive = archive_of(conn, tenant, peer["ae_title"], *opened_by) if peer["enabled"] else None
        if archive is None:
            continue
        if (
            peer["ae_title"] in wanted.retrieve_ae_titles
            or peer["query_ae_title"] in wanted.retrieve_ae_titles
        ):
            return _as(row, archive)
        node = archive.node
        if isinstance(node, DicomWebServer):
            root = node.url.rstrip("/") + "/"
            if any(url.startswith(root) for url in wanted.retrieve_urls):
                return _as(row, archive)
    return own


def _as(row: Row, archive: Archive) -> Archive:
    """What is fetched counts as sent by who asked for the work."""
    return replace(archive, peer_ae_title=row["ae_title"])
