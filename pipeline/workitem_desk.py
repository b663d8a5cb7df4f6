"""What others may ask of our worklist (PS3.18 section 11): create, search, claim, change, cancel, watch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import procrastinate

from dicom_gateway import workitem
from dicom_gateway.arrival_evidence import Order
from dicom_gateway.dicom_json import DataSet, text
from dicom_gateway.workitem import STATE, TRANSACTION_UID, State
from dicom_gateway.workitem_errors import WorkitemInvalid
from dicom_gateway.workitem_search import Search
from pipeline import store, workitem_store
from pipeline.cancel_study import cancel_study
from pipeline.database import Connection
from pipeline.errors import NotCancellable, NothingWaits, PipelineError
from pipeline.order_study import order_study
from pipeline.perform_workitem import defer_perform, is_ours, locked
from pipeline.status import StudyStatus
from pipeline.store import Row
from pipeline.workitem_follow import give_up, now_of
from study.errors import InvalidUID
from study.identifiers import validate_uid

_REASON = "00741238"


class NoSuchWorkitem(PipelineError):
    """No workitem has this UID for this tenant."""


class StateConflict(PipelineError):
    """The workitem is in another state than the request needs; the message says in which."""


def create(
    conn: Connection, queue: procrastinate.App, tenant: str, ae_title: str, uid: str, given: DataSet
) -> None:
    """Schedule work; what is ours begins at its start time. Raises `WorkitemInvalid`, `StateConflict`."""
    item = workitem.created(given, uid, now_of(conn))
    if workitem_store.open_count(conn, tenant) >= workitem_store.OPEN_MAX:
        raise StateConflict("too many workitems are open")
    is_for_us = is_ours(item, store.get_tenant(conn, tenant)["called_ae_title"])
    inputs = workitem.inputs_of(item)
    study = inputs[0].study_instance_uid if inputs else None
    if not workitem_store.insert(
        conn, tenant, uid, item, ae_title=ae_title, is_ours=is_for_us, study_instance_uid=study
    ):
        raise StateConflict("a workitem of this UID is there already")
    row = _found(conn, tenant, uid)
    workitem_store.notify(conn, row, workitem_store.STATE_REPORT, {STATE: item[STATE]})
    _begin(conn, queue, row)


def _begin(conn: Connection, queue: procrastinate.App, row: Row) -> None:
    if row["is_ours"] and row["state"] == State.SCHEDULED and workitem.is_ready(row["attributes"]):
        defer_perform(queue, conn, row["tenant"], row["uid"], at=workitem.starts_at(row["attributes"]))


def retrieve(conn: Connection, tenant: str, uid: str) -> dict[str, Any]:
    """Without the Transaction UID, which is its performer's secret."""
    return {
        tag: one for tag, one in _found(conn, tenant, uid)["attributes"].items() if tag != TRANSACTION_UID
    }


def search(conn: Connection, tenant: str, wanted: Search) -> list[dict[str, Any]]:
    """What matches, oldest first."""
    return [wanted.returned(row["attributes"]) for row in workitem_store.search(conn, tenant, wanted)]


def update(
    conn: Connection,
    queue: procrastinate.App,
    tenant: str,
    uid: str,
    changes: DataSet,
    transaction: str | None,
) -> None:
    """Raises `NoSuchWorkitem`, `StateConflict`, `WorkitemInvalid`."""
    row = _found(conn, tenant, uid, lock=True)
    state = State(row["state"])
    if state.is_final:
        raise StateConflict(f"the workitem is {state}")
    if state is State.IN_PROGRESS:
        _require_performer(row, transaction or text(changes, TRANSACTION_UID))
    item = workitem.updated(row["attributes"], changes, now_of(conn))
    inputs = workitem.inputs_of(item)
    conn.execute(
        "UPDATE workitem SET study_instance_uid = %s, is_ours = %s WHERE tenant = %s AND uid = %s",
        (
            inputs[0].study_instance_uid if inputs else None,
            row["work_source"] is None and is_ours(item, store.get_tenant(conn, tenant)["called_ae_title"]),
            tenant,
            uid,
        ),
    )
    workitem_store.save(conn, row, item)
    if workitem.PROGRESS in changes:
        said = {workitem.PROGRESS: changes[workitem.PROGRESS]}
        workitem_store.notify(conn, {**row, "attributes": item}, workitem_store.PROGRESS_REPORT, said)
    _begin(conn, queue, _found(conn, tenant, uid))


def change_state(conn: Connection, tenant: str, uid: str, wanted: DataSet) -> str | None:
    """Claim or end a workitem; a sentence when it was so already. Raises like `update`."""
    try:
        to = State(text(wanted, STATE))
        transaction = validate_uid(text(wanted, TRANSACTION_UID))
    except (ValueError, InvalidUID):
        raise WorkitemInvalid("send a Procedure Step State and a Transaction UID") from None
    row = _found(conn, tenant, uid, lock=True)
    state = State(row["state"])
    if to is State.SCHEDULED:
        raise StateConflict("nothing goes back to SCHEDULED")
    if to is State.IN_PROGRESS:
        if state is not State.SCHEDULED:
            raise StateConflict(f"the workitem is {state}")
    elif state is to:
        return f"The UPS is already in the requested state of {to.value}."
    else:
        if state is not State.IN_PROGRESS:
            raise StateConflict(f"the workitem is {state}")
        _require_performer(row, transaction)
        problem = workitem.final_problem(row["attributes"], to)
        if problem is not None:
            raise StateConflict(problem)
    workitem_store.set_state(conn, row, to, transaction)
    return None


def _require_performer(row: Row, transaction: str) -> None:
    if row["performed_here"]:
        raise StateConflict("this server performs the workitem itself")
    if transaction != row["transaction_uid"]:
        raise StateConflict("the Transaction UID is not the one by which the workitem was claimed")


def request_cancel(
    conn: Connection, queue: procrastinate.App, tenant: str, uid: str, reason: DataSet, *, by: str
) -> str | None:
    """At once when nobody has claimed it or we perform it; else its performer is told. Raises `StateConflict`."""
    row = locked(conn, tenant, uid)
    if row is None:
        raise NoSuchWorkitem(uid)
    state = State(row["state"])
    if state is State.CANCELED:
        return "The UPS is already in the requested state of CANCELED."
    if state is State.COMPLETED:
        raise StateConflict("the workitem is COMPLETED")
    sentence = text(reason, _REASON)[:1024] or f"Cancelled by {by}."
    if state is State.SCHEDULED:
        give_up(conn, row, "CANCELLED", sentence, now_of(conn))
    elif row["performed_here"]:
        _cancel_own(conn, queue, row, sentence, by)
    else:
        said: dict[str, Mapping[str, Any]] = {tag: one for tag, one in reason.items() if tag[:4] == "0074"}
        if workitem_store.notify(conn, row, workitem_store.CANCEL_REQUESTED, said) == 0:
            raise StateConflict("its performer does not listen for requests to cancel")
    return None


def _cancel_own(conn: Connection, queue: procrastinate.App, row: Row, sentence: str, by: str) -> None:
    """The study leaves its path when nobody else wants it and its models have not answered yet.

    What has come of one that still arrives is discarded. While its images are fetched, who fetches them finds out.
    """
    tenant, study_id = row["tenant"], row["study_id"]
    if study_id is None or workitem_store.others_want(conn, row):
        give_up(conn, row, "CANCELLED", sentence, now_of(conn))
        return
    try:  # what follows the study ends the workitem
        if store.get_study(conn, tenant, study_id).status is StudyStatus.RECEIVING:
            order_study(queue, conn, tenant, study_id, Order.DISCARD, by=by)
        else:
            cancel_study(conn, tenant, study_id, by)
    except (NotCancellable, NothingWaits) as error:
        raise StateConflict(str(error)) from None


def subscribe(
    conn: Connection, tenant: str, ae_title: str, uid: str | None, filters: list[tuple[str, str]], lock: bool
) -> None:
    """The present state of what is watched from now on is told at once (PS3.4 CC.2.3.2). Raises `NoSuchWorkitem`."""
    row = _found(conn, tenant, uid, lock=True) if uid is not None else None
    if not workitem_store.subscribe(conn, tenant, ae_title, uid, filters, lock):
        raise StateConflict("this subscriber watches too many workitems")
    if row is not None:
        workitem_store.tell(
            conn, row, ae_title, workitem_store.STATE_REPORT, {STATE: row["attributes"][STATE]}
        )


def unsubscribe(conn: Connection, tenant: str, ae_title: str, uid: str | None) -> None:
    """Raises `NoSuchWorkitem` where it was not watched."""
    if uid is None:
        workitem_store.unsubscribe_all(conn, tenant, ae_title)
    elif not workitem_store.unsubscribe(conn, tenant, ae_title, uid):
        raise NoSuchWorkitem(uid)


def suspend(conn: Connection, tenant: str, ae_title: str) -> None:
    """Of a subscription to all: what it covers so far is watched one by one, what comes is not."""
    if not workitem_store.keep_single(conn, tenant, ae_title):
        raise NoSuchWorkitem(ae_title)


def _found(conn: Connection, tenant: str, uid: str, *, lock: bool = False) -> Row:
    row = workitem_store.find(conn, tenant, uid, lock=lock)
    if row is None:
        raise NoSuchWorkitem(uid)
    return row
