"""Every answer that shows patients or changes something leaves its event in the audit trail, by one table.

The event is on disk before the answer begins: who cannot be recorded is shown nothing. A change that is done is not
undone for it; its answer goes out and the log tells of the missing event.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import psycopg
import psycopg_pool
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.audit import AuditEvent
from pipeline.audit_access import AccessTrail, access_detail
from portal.context import Identity

log = logging.getLogger("radmeter.audit")

_SERIES = "/series/{series_instance_uid}"
_INSTANCE = f"{_SERIES}/instances/{{sop_instance_uid}}"
# Metadata names the patient as much as pixels show them.
DICOMWEB_OF_STUDY = [
    *("", "/metadata", "/thumbnail", "/series", "/instances"),
    *(_SERIES + end for end in ("", "/metadata", "/thumbnail", "/instances")),
    *(_INSTANCE + end for end in ("", "/metadata", "/rendered", "/thumbnail", "/bulkdata/{element:path}")),
    *(f"{_INSTANCE}/frames/{{frames}}{end}" for end in ("", "/rendered", "/thumbnail")),
]
# method and route → event. A route that is missing here records its own event, or shows no patient and changes
# nothing: `tests/portal/route_audit.py` says which.
EVENT_OF = {
    "GET /": AuditEvent.STUDIES_QUERIED,
    "GET /reports": AuditEvent.STUDIES_QUERIED,
    "POST /reports": AuditEvent.STUDIES_QUERIED,
    "GET /api/v1/studies": AuditEvent.STUDIES_QUERIED,
    "POST /api/v1/studies/search": AuditEvent.STUDIES_QUERIED,
    "GET /studies/{study_id}": AuditEvent.STUDY_VIEWED,
    "GET /reports/{study_id}": AuditEvent.STUDY_VIEWED,
    "GET /api/v1/studies/{study_id}": AuditEvent.STUDY_VIEWED,
    "GET /api/v1/studies/{study_id}/events": AuditEvent.STUDY_VIEWED,
    "GET /api/v1/studies/{study_id}/result": AuditEvent.STUDY_VIEWED,
    "GET /studies/{study_id}/verdicts/{token}/edit": AuditEvent.STUDY_VIEWED,
    "GET /studies/{study_id}/missed": AuditEvent.STUDY_VIEWED,
    "GET /studies/{study_id}/images/{name}": AuditEvent.IMAGES_VIEWED,
    "GET /studies/{study_id}/report.pdf": AuditEvent.REPORT_EXPORTED,
    "GET /dicom-web/studies": AuditEvent.STUDIES_QUERIED,
    "GET /dicom-web/series": AuditEvent.STUDIES_QUERIED,
    "GET /dicom-web/instances": AuditEvent.STUDIES_QUERIED,
    **{
        f"GET /dicom-web/studies/{{study_instance_uid}}{rest}": AuditEvent.IMAGES_VIEWED
        for rest in DICOMWEB_OF_STUDY
    },
    "GET /studies/{study_id}/findings.csv": AuditEvent.REPORT_EXPORTED,
    "POST /studies/{study_id}/order": AuditEvent.STUDY_CHANGED,
    "POST /studies/{study_id}/cancel": AuditEvent.STUDY_CHANGED,
    "POST /studies/{study_id}/send-again": AuditEvent.STUDY_CHANGED,
    "POST /upload": AuditEvent.STUDIES_IMPORTED,
    "GET /dicom-web/workitems": AuditEvent.STUDIES_QUERIED,
    "GET /dicom-web/workitems/{workitem_uid}": AuditEvent.STUDY_VIEWED,
    "POST /dicom-web/workitems": AuditEvent.STUDY_CHANGED,
    "POST /dicom-web/workitems/{workitem_uid}": AuditEvent.STUDY_CHANGED,
    "PUT /dicom-web/workitems/{workitem_uid}/state": AuditEvent.STUDY_CHANGED,
    "POST /dicom-web/workitems/{workitem_uid}/cancelrequest": AuditEvent.STUDY_CHANGED,
    "POST /dicom-web/workitems/{workitem_uid}/subscribers/{ae_title}": AuditEvent.FUNCTION_USED,
    "DELETE /dicom-web/workitems/{workitem_uid}/subscribers/{ae_title}": AuditEvent.FUNCTION_USED,
    "POST /dicom-web/workitems/{workitem_uid}/subscribers/{ae_title}/suspend": AuditEvent.FUNCTION_USED,
    "GET /audit": AuditEvent.AUDIT_VIEWED,
    "POST /routing/edit": AuditEvent.FUNCTION_USED,
    "POST /routing/activate": AuditEvent.FUNCTION_USED,
    "POST /destinations/test": AuditEvent.FUNCTION_USED,
    "POST /peers/test": AuditEvent.FUNCTION_USED,
    "POST /statements/issue": AuditEvent.FUNCTION_USED,
    "POST /statements/{statement_id}/credit": AuditEvent.FUNCTION_USED,
    "POST /statements/{statement_id}/dispute": AuditEvent.FUNCTION_USED,
    "POST /disputes/{dispute_id}/decide": AuditEvent.FUNCTION_USED,
    "POST /credit-requests/{request_id}/decide": AuditEvent.FUNCTION_USED,
    "POST /payouts/{party_id}/issue": AuditEvent.FUNCTION_USED,
    "POST /payouts/{party_id}/approve": AuditEvent.FUNCTION_USED,
    "POST /overview/{contract_id}/limits": AuditEvent.FUNCTION_USED,
    "POST /contracts/edit": AuditEvent.FUNCTION_USED,
    "POST /wallets": AuditEvent.FUNCTION_USED,
    "POST /payments/receive": AuditEvent.FUNCTION_USED,
    "POST /payments/{payment_id}/allocate": AuditEvent.FUNCTION_USED,
    "POST /bank/import": AuditEvent.FUNCTION_USED,
    "POST /bank/lines/{bank_line_id}/settle": AuditEvent.FUNCTION_USED,
    "POST /bank/lines/{bank_line_id}/dismiss": AuditEvent.FUNCTION_USED,
    "POST /reconciliations": AuditEvent.FUNCTION_USED,
    "POST /books/{month}/begin": AuditEvent.FUNCTION_USED,
    "POST /books/{month}/waive": AuditEvent.FUNCTION_USED,
    "POST /books/{month}/sign": AuditEvent.FUNCTION_USED,
    "POST /books/{month}/close": AuditEvent.FUNCTION_USED,
    "POST /books/{month}/reopen": AuditEvent.FUNCTION_USED,
    "POST /api/v1/usage/events": AuditEvent.FUNCTION_USED,
}
_NOT_RECORDED = (psycopg.Error, psycopg_pool.PoolTimeout, psycopg_pool.PoolClosed)


class AccessAudit:
    """ASGI middleware around the routes, inside of `Guard`."""

    def __init__(self, app: ASGIApp, trail: AccessTrail) -> None:
        self._app = app
        self._trail = trail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_refused = False

        async def send_recorded(message: Message) -> None:
            nonlocal is_refused
            if message["type"] == "http.response.start" and not await self._is_recorded(scope, message):
                is_refused = True
                refusal = PlainTextResponse("The service is not ready. Try again in a moment.", 503)
                await refusal(scope, receive, send)
            if not is_refused:
                await send(message)

        await self._app(scope, receive, send_recorded)

    async def _is_recorded(self, scope: Scope, start: Message) -> bool:
        """False if what is to be shown could not be recorded."""
        event = _event(scope, start["status"])
        identity: Identity | None = scope.get("state", {}).get("identity")
        if event is None or identity is None:
            return True
        folds = scope["method"] == "GET"
        try:
            await asyncio.to_thread(self._trail.record, identity.tenant, event, _detail(scope), folds=folds)
        except _NOT_RECORDED as error:
            log.error(
                "audit_event_not_recorded", extra={"error": type(error).__name__, "action": event.action}
            )
            return not folds
        return True


def _event(scope: Scope, status: int) -> AuditEvent | None:
    """What the answer is recorded as; None where nobody was shown anything and nothing was changed."""
    route = getattr(scope.get("route"), "path", "")
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    if status >= 400 or status == 204 or (method == "GET" and 300 <= status < 304):
        return None
    return EVENT_OF.get(f"{method} {route}")


def _detail(scope: Scope) -> dict[str, Any]:
    """A route whose path does not name the study by our id leaves it in `request.state.study_id`."""
    state, params = scope["state"], scope.get("path_params", {})
    identity: Identity = state["identity"]
    client = scope.get("client")
    return access_detail(
        identity.user_name,
        state.get("study_id") or params.get("study_id"),
        host=client[0] if client else "",
        route=scope["route"].path,
    )
