"""Upload: a folder, files or the ZIP of a patient CD, counted for a peer of the user's choice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from dicom_gateway.errors import BodyNotTaken
from dicom_gateway.instance_sink import RecordOutcome
from dicom_gateway.multipart_related import parse_header_value
from dicom_gateway.receive_upload import UploadForm, UploadReport
from pipeline.own_peer import enabled_peer
from pipeline.peers import list_peers
from portal.context import SEES_STUDIES, Identity
from portal.errors import InvalidInput, PeerSwitchedOff
from portal.intake import Intake
from portal.render import page
from portal.requests import Context, signed_in

router = APIRouter(include_in_schema=False)

Uploader = Annotated[Identity, Depends(signed_in(SEES_STUDIES))]

_STUDIES_SHOWN_MAX = 100


@router.get("/upload")
def show(request: Request, context: Context, identity: Uploader) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        peers = [row["ae_title"] for row in list_peers(conn, identity.tenant) if row["enabled"]]
    return page(request, "upload.html", peers=peers)


@router.post("/upload")
async def upload(request: Request, context: Context, identity: Uploader) -> Response:
    """Take the form while it arrives; the answer comes when everything in it is durable."""
    media_type, parameters = parse_header_value(request.headers.get("content-type", ""))
    if media_type != "multipart/form-data":
        raise InvalidInput
    intake: Intake = request.app.state.intake

    def work(pieces: Iterator[bytes]) -> Response:
        report, broken_off = UploadReport(), None
        try:
            form = UploadForm(pieces, parameters.get("boundary", ""))
            with context.database.transaction(identity.tenant) as conn:
                peer = enabled_peer(conn, identity.tenant, form.source())
            if peer is None:
                raise PeerSwitchedOff
            with intake.receiver(peer, report.add) as receiver:
                form.take_files(receiver, intake.store)
        except BodyNotTaken as reason:
            broken_off = type(reason)
        return _result(request, context, identity, report, broken_off)

    return await intake.take(request, work)


def _result(
    request: Request,
    context: Context,
    identity: Identity,
    report: UploadReport,
    broken_off: type[BodyNotTaken] | None,
) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        studies = conn.execute(
            """SELECT id, study_instance_uid, status, header FROM study
               WHERE tenant = %s AND study_instance_uid = ANY(%s) ORDER BY created_at LIMIT %s""",
            (identity.tenant, sorted(report.studies), _STUDIES_SHOWN_MAX),
        ).fetchall()
    return page(
        request,
        "upload_result.html",
        status_code=200 if broken_off is None else broken_off.http_status,
        stored=report.outcomes[RecordOutcome.STORED],
        identical=report.outcomes[RecordOutcome.IDENTICAL],
        conflicts=report.outcomes[RecordOutcome.CONFLICT],
        directories=report.directories,
        others=report.others,
        refusals=[(kind.__doc__, count) for kind, count in report.refusals.most_common()],
        broken_off=broken_off.__doc__ if broken_off is not None else "",
        studies=studies,
        study_count=len(report.studies),
    )
