"""UPS-RS: the worklist that programs share (PS3.18 section 11). Work comes in without any AE title being called.

A key that is bound to a peer creates, claims, changes and watches workitems of its tenant; a reading key sees them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from pydicom.uid import generate_uid

from dicom_gateway.dicom_json import DataSet, read_data_set
from dicom_gateway.workitem import FILTERED, GLOBAL
from dicom_gateway.workitem_errors import DicomJSONMalformed, WorkitemInvalid
from dicom_gateway.workitem_search import read_search
from pipeline import workitem_desk
from pipeline.database import Connection
from portal.auth import find_key, reader_identity, storing_peer
from portal.context import SEES_STUDIES, Identity
from portal.errors import InvalidInput, MediaTypeNotSupported, NotSignedIn, PageNotFound, PortalError
from portal.requests import bearer_token, portal_context, signed_in
from study.errors import InvalidUID
from study.identifiers import validate_uid

router = APIRouter(prefix="/dicom-web", include_in_schema=False)

_JSON = "application/dicom+json"
T = TypeVar("T")


class WorkitemConflict(PortalError):
    """The workitem is in another state than the request needs."""

    status = 409
    code = "workitem_conflict"


class WorkitemMalformed(PortalError):
    """The workitem is not what the standard allows."""

    status = 400
    code = "workitem_malformed"


class NotItsSubscriber(PortalError):
    """A key subscribes and listens for the AE title of its own peer alone."""

    status = 403
    code = "not_its_subscriber"


@dataclass(frozen=True)
class Asking:
    """Who asks. ae_title: None for a key that only reads."""

    tenant: str
    ae_title: str | None


def who_asks(request: Request, *, changes: bool) -> Asking:
    """A person may look. Raises `NotSignedIn`, `KeyStoresNothing`, `PeerSwitchedOff`, `RoleNotAllowed`."""
    token = bearer_token(request)
    context = portal_context(request)
    if token is None:
        if changes:
            raise NotSignedIn("Send an API key that is bound to a peer: Authorization: Bearer rm_…")
        return Asking(signed_in(SEES_STUDIES)(request, context).tenant, None)
    database = context.database
    key = find_key(database, token)
    if changes or key.ae_title is not None:
        peer = storing_peer(database, key)
        asking = Asking(peer.tenant, peer.ae_title)
        name = f"API key of {peer.ae_title}"
    else:
        asking, name = Asking(reader_identity(database, key).tenant, None), f"API key {key.label}"
    # Who asks is named in the audit trail.
    request.state.identity = Identity(asking.tenant, "", "en", name, None)
    return asking


async def _answered(request: Request, work: Callable[[Connection, Asking], T], *, changes: bool) -> T:
    """Do it in one transaction of who asks; what it raises becomes the status that the standard wants."""

    def run() -> T:
        asking = who_asks(request, changes=changes)
        with portal_context(request).database.transaction(asking.tenant) as conn:
            return work(conn, asking)

    try:
        return await asyncio.to_thread(run)
    except (WorkitemInvalid, DicomJSONMalformed) as error:
        raise WorkitemMalformed(str(error)) from None
    except workitem_desk.NoSuchWorkitem:
        raise PageNotFound("There is no such workitem.") from None
    except workitem_desk.StateConflict as error:
        raise WorkitemConflict(str(error)) from None


async def _data_set(request: Request) -> DataSet:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in (_JSON, "application/json"):
        raise MediaTypeNotSupported(f"send {_JSON}")
    try:
        return read_data_set(await request.body())
    except DicomJSONMalformed as error:
        raise WorkitemMalformed(str(error)) from None


def _uid(value: str) -> str:
    try:
        return validate_uid(value)
    except InvalidUID:
        raise InvalidInput("the workitem in the address is not a UID") from None


def _json(content: Any, status: int = 200, **headers: str) -> Response:
    return Response(json.dumps(content), status, headers, _JSON)


@router.post("/workitems")
async def create(request: Request) -> Response:
    """Schedule a workitem; its UID is in `?workitem=` (or in `?AffectedSOPInstanceUID=`), else we give one."""
    query = request.query_params
    asked = query.get("workitem") or query.get("AffectedSOPInstanceUID") or next(iter(query.keys()), "")
    uid = _uid(asked) if asked else str(generate_uid(prefix=None))
    given = await _data_set(request)
    queue = portal_context(request).queue

    def work(conn: Connection, asking: Asking) -> None:
        assert asking.ae_title is not None
        workitem_desk.create(conn, queue, asking.tenant, asking.ae_title, uid, given)

    await _answered(request, work, changes=True)
    location = f"{str(request.base_url).rstrip('/')}/dicom-web/workitems/{uid}"
    return Response(status_code=201, headers={"Location": location, "Content-Location": location})


@router.get("/workitems")
async def search(request: Request) -> Response:
    """Workitems that match, as DICOM JSON; 204 when none does."""

    def work(conn: Connection, asking: Asking) -> list[dict[str, Any]]:
        wanted = read_search(request.query_params.multi_items())
        return workitem_desk.search(conn, asking.tenant, wanted)

    found = await _answered(request, work, changes=False)
    return _json(found) if found else Response(status_code=204)


@router.get("/workitems/{workitem_uid}")
async def retrieve(request: Request, workitem_uid: str) -> Response:
    """One workitem, without its Transaction UID."""
    found = await _answered(
        request,
        lambda conn, asking: workitem_desk.retrieve(conn, asking.tenant, _uid(workitem_uid)),
        changes=False,
    )
    return _json([found])


@router.post("/workitems/{workitem_uid}")
async def update(request: Request, workitem_uid: str) -> Response:
    """Change attributes; under way, only its performer does, who names the Transaction UID."""
    changes = await _data_set(request)
    query = request.query_params
    transaction = query.get("transaction-uid") or query.get("transaction") or next(iter(query.keys()), None)
    queue = portal_context(request).queue
    await _answered(
        request,
        lambda conn, asking: workitem_desk.update(
            conn, queue, asking.tenant, _uid(workitem_uid), changes, transaction
        ),
        changes=True,
    )
    return Response(status_code=200, headers={"Content-Location": str(request.url.replace(query=""))})


@router.put("/workitems/{workitem_uid}/state")
async def change_state(request: Request, workitem_uid: str) -> Response:
    """Claim (IN PROGRESS), COMPLETED or CANCELED."""
    wanted = await _data_set(request)
    warning = await _answered(
        request,
        lambda conn, asking: workitem_desk.change_state(conn, asking.tenant, _uid(workitem_uid), wanted),
        changes=True,
    )
    return Response(status_code=200, headers=_warning(warning))


@router.post("/workitems/{workitem_uid}/cancelrequest")
async def request_cancel(request: Request, workitem_uid: str) -> Response:
    """Ask that it be cancelled: at once when nobody has claimed it, else its performer decides."""
    reason = await _data_set(request) if await request.body() else {}

    def work(conn: Connection, asking: Asking) -> str | None:
        queue = portal_context(request).queue
        return workitem_desk.request_cancel(
            conn, queue, asking.tenant, _uid(workitem_uid), reason, by=asking.ae_title or ""
        )

    warning = await _answered(request, work, changes=True)
    return Response(status_code=202, headers=_warning(warning))


@router.post("/workitems/{workitem_uid}/subscribers/{ae_title}")
async def subscribe(request: Request, workitem_uid: str, ae_title: str) -> Response:
    """Watch one workitem, or with the well-known UIDs all of them or those that match `?filter=`."""
    lock = request.query_params.get("deletionlock", "false").lower() == "true"
    pairs = [(name, value) for name, value in request.query_params.multi_items() if name != "deletionlock"]
    filters = [tuple(one.split("=", 1)) for _, value in pairs for one in value.split(",") if "=" in one]

    def work(conn: Connection, asking: Asking) -> None:
        _require_own(asking, ae_title)
        wanted = [(name, value) for name, value in filters] if workitem_uid == FILTERED else []
        read_search(wanted)
        workitem_desk.subscribe(conn, asking.tenant, ae_title, _watched(workitem_uid), wanted, lock)

    await _answered(request, work, changes=True)
    url = request.url.replace(path=f"/dicom-web/subscribers/{ae_title}", query="")
    channel = str(url.replace(scheme="wss" if url.scheme == "https" else "ws"))
    return Response(status_code=201, headers={"Content-Location": channel})


@router.delete("/workitems/{workitem_uid}/subscribers/{ae_title}")
async def unsubscribe(request: Request, workitem_uid: str, ae_title: str) -> Response:
    """Watch it no longer; with a well-known UID, nothing at all."""

    def work(conn: Connection, asking: Asking) -> None:
        _require_own(asking, ae_title)
        workitem_desk.unsubscribe(conn, asking.tenant, ae_title, _watched(workitem_uid))

    await _answered(request, work, changes=True)
    return Response(status_code=200)


@router.post("/workitems/{workitem_uid}/subscribers/{ae_title}/suspend")
async def suspend(request: Request, workitem_uid: str, ae_title: str) -> Response:
    """New workitems are watched no longer; those that are watched stay."""
    if workitem_uid not in (GLOBAL, FILTERED):
        raise InvalidInput("only a subscription to all workitems is suspended")

    def work(conn: Connection, asking: Asking) -> None:
        _require_own(asking, ae_title)
        workitem_desk.suspend(conn, asking.tenant, ae_title)

    await _answered(request, work, changes=True)
    return Response(status_code=200)


def _watched(uid: str) -> str | None:
    return None if uid in (GLOBAL, FILTERED) else _uid(uid)


def _require_own(asking: Asking, ae_title: str) -> None:
    if asking.ae_title != ae_title:
        raise NotItsSubscriber


def _warning(sentence: str | None) -> dict[str, str]:
    return {"Warning": f'299 radmeter "{sentence}"'} if sentence else {}
