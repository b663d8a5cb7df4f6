"""One study: its report, its path, where its results went, and what was charged."""

from __future__ import annotations

import contextlib
import hashlib
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from billing.contracts import store as billing_store
from dicom_gateway.arrival_evidence import Order
from pipeline import deliver_study, deliveries, prior_studies, store
from pipeline.ask_counts import archive_answer, archive_counts
from pipeline.begin_anew import may_begin_anew
from pipeline.cancel_study import CANCELLABLE, cancel_study
from pipeline.completion_text import sentence
from pipeline.database import Connection
from pipeline.errors import NotCancellable, NothingGivenUp, NothingWaits
from pipeline.fallbacks import GIVEN_UP
from pipeline.order_study import order_study
from pipeline.progress import progress_of
from pipeline.retention import removals_of
from pipeline.status import TERMINAL
from pipeline.store import Row, StudyRecord
from portal.context import DECIDES_STUDIES, SEES_STUDIES, Identity
from portal.delivery_text import TOLD_WORDS
from portal.pages.report_parts import Language, Revision
from portal.render import page
from portal.report_files import find_reports
from portal.report_page import report_on_page
from portal.requests import Context, is_htmx, parse_id, signed_in
from portal.verdict_desk import desk_of, page_values, reviewed_view
from portal.viewer_link import viewer_url

router = APIRouter(include_in_schema=False)

Viewer = Annotated[Identity, Depends(signed_in(SEES_STUDIES))]

# Events as people say them; an event without words here is shown by its name.
EVENT_WORDS = {
    "study_receiving": "Receiving",
    "study_assembled": "All images received",
    "study_routed": "Series chosen for the model",
    "study_decoded": "Images read",
    "study_inferred": "Model has run",
    "study_encoded": "Report and DICOM objects made",
    "study_delivered": "Results acknowledged by the destination",
    "delivery_incomplete": "The destination did not take everything; it is tried again",
    "delivery_given_up": "The destination did not take an object; it was given up",
    "delivery_falls_back": "The destination refused a kind of object; another one is sent in its place",
    "delivery_asked_again": "Sent again on a person's word",
    "delivery_confirmed": "The destination has confirmed what it keeps",
    "delivery_not_confirmed": "The destination does not confirm what it acknowledged",
    "study_process_ordered": "A person asked to process it now",
    "study_discard_ordered": "A person asked to discard it",
    "model_refused": "A model could not judge its series; the others went on",
    "late_images_left_aside": "Late images were left aside",
    "same_pixels_found": "Same pixels as another study",
    "study_shadowed": "Results kept in shadow, nothing sent",
    "study_rejected": "Not analysed",
    "study_erased": "Erased",
    "study_failed": "Failed",
    "review_finished": "Review finished",
    "review_issued": "The reviewed report was made",
    "review_not_issued": "The reviewed report could not be made",
    "images_removed": "Images removed by policy",
    "results_removed": "Results removed by policy",
    "study_prior": "Fetched for comparison; not analysed",
    "study_promoted": "Sent by a peer as a study of its own",
    "priors_asked": "The archive was asked for earlier studies",
    "priors_not_asked": "The archive was not asked for earlier studies",
    "prior_fetched": "An earlier study was fetched",
    "prior_not_fetched": "An earlier study could not be fetched",
}


@router.get("/studies/{study_id}")
def show(
    request: Request,
    context: Context,
    identity: Viewer,
    study_id: str,
    seen: str = "",
    product: str = "",
    revision: Revision = None,
    language: Language = None,
) -> Response:
    """The page, with the report of `product` where several models read the study; `revision`: an earlier one.

    For htmx: nothing (204) until the status is another than `seen`, then a reload.
    """
    with context.database.transaction(identity.tenant) as conn:
        study = store.get_study(conn, identity.tenant, parse_id(study_id))
        waiting = _waiting(conn, study, identity.language)
        objects = store.result_objects(conn, study.tenant, study.id)
        progress = progress_of(conn, study.tenant, study.id)
        moves = [tuple(one.values()) for one in progress]
        moves += [(one["state"], one["attempts"]) for one in objects]
        shown = f"{waiting}{moves}"
        state = f"{study.status.value}-{study.revision}-{hashlib.sha256(shown.encode()).hexdigest()[:8]}"
        if is_htmx(request):
            return Response(status_code=204, headers={} if seen == state else {"HX-Refresh": "true"})
        values = _values(conn, study) | {
            "objects": objects,
            "progress": progress,
            "newest": _newest_revisions(objects),
            "told_words": TOLD_WORDS,
        }
        newest = find_reports(context.folders, study)
        reports = find_reports(context.folders, study, revision) if revision else newest
        files = next((one for one in reports if one.product == product), reports[0] if reports else None)
        desk = desk_of(conn, identity, study.id, files)
        removals = removals_of(conn, identity.tenant, study.id)
    values |= page_values(desk)
    if files is not None:
        values |= report_on_page(
            context,
            study,
            files,
            reviewed_view(files.view, desk),
            language=language or identity.language,
            own_language=identity.language,
            page_path=f"/studies/{study.id}",
            newest_revision=newest[0].revision if newest else files.revision,
        )
    return page(
        request,
        "study.html",
        study=study,
        state=state,
        waiting=waiting,
        viewer_href=None if "images" in removals else viewer_url(context, study.study_instance_uid),
        removals=removals,
        may_decide=identity.may(DECIDES_STUDIES),
        may_begin_anew=identity.may(DECIDES_STUDIES) and may_begin_anew(study),
        may_cancel=identity.may(DECIDES_STUDIES) and study.status in CANCELLABLE,
        may_send_again=any(one["state"] in GIVEN_UP for one in values["objects"]),
        DELIVERY_FAILURES=deliveries.FAILURES,
        is_final=study.status in TERMINAL and not waiting,
        files=files,
        reports=reports,
        is_outdated=files is not None and files.revision != study.revision,
        event_words=EVENT_WORDS,
        **values,
    )


@router.post("/studies/{study_id}/order")
def order(
    context: Context,
    identity: Annotated[Identity, Depends(signed_in(DECIDES_STUDIES))],
    study_id: str,
    wanted: Annotated[Order, Form()],
) -> Response:
    """Process or discard a study that waits, or process one anew that failed."""
    with context.database.transaction(identity.tenant) as conn:
        study = store.get_study(conn, identity.tenant, parse_id(study_id))
        # When it has just gone on by itself, the page shows that.
        with contextlib.suppress(NothingWaits):
            order_study(context.queue, conn, identity.tenant, study.id, wanted, by=identity.user_name)
    return RedirectResponse(f"/studies/{study.id}", 303)


@router.post("/studies/{study_id}/cancel")
def cancel(
    context: Context,
    identity: Annotated[Identity, Depends(signed_in(DECIDES_STUDIES))],
    study_id: str,
) -> Response:
    """Take the study off its path."""
    with context.database.transaction(identity.tenant) as conn:
        study = store.get_study(conn, identity.tenant, parse_id(study_id))
        # When it has just gone on by itself, the page shows that.
        with contextlib.suppress(NotCancellable):
            cancel_study(conn, identity.tenant, study.id, by=identity.user_name)
    return RedirectResponse(f"/studies/{study.id}", 303)


@router.post("/studies/{study_id}/send-again")
def send_again(
    context: Context,
    identity: Annotated[Identity, Depends(signed_in(DECIDES_STUDIES))],
    study_id: str,
) -> Response:
    """Send once more what was given up or refused."""
    with context.database.transaction(identity.tenant) as conn:
        study = store.get_study(conn, identity.tenant, parse_id(study_id))
        # A button pressed twice: the page shows that it waits again.
        with contextlib.suppress(NothingGivenUp):
            deliver_study.send_again(context.queue, conn, identity.tenant, str(study.id))
    return RedirectResponse(f"/studies/{study.id}", 303)


def _values(conn: Connection, study: StudyRecord) -> dict[str, Any]:
    """What the page shows beside the report."""
    return {
        "timeline": _timeline(conn, study),
        "series": store.study_instances_summary(conn, study.tenant, study.id),
        "results": store.present_results(conn, study),
        "usage": billing_store.usage_for_study(conn, study.tenant, str(study.id)),
        "archive": archive_answer(conn, study.tenant, study.id),
        "archive_count": sum(archive_counts(conn, study.tenant, study.id).values()),
        "priors": prior_studies.candidates(conn, study.tenant, study.id),
    }


def _newest_revisions(objects: list[Row]) -> dict[str, int]:
    """By product the latest revision of which an object was acknowledged; earlier ones are superseded by it."""
    newest: dict[str, int] = {}
    for one in objects:
        revision = one["revision"] if one["acknowledged_at"] else 0
        newest[one["product"]] = max(newest.get(one["product"], 0), revision)
    return newest


def _waiting(conn: Connection, study: StudyRecord, language: str) -> str:
    """What is waited for, as a sentence; empty when nothing arrives."""
    arrivals = store.study_arrivals(conn, study.tenant, study.id)
    still_open = [one for one in arrivals if one["closed_at"] is None]
    return (sentence(still_open[-1]["decision"], language) or "…") if still_open else ""


def _timeline(conn: Connection, study: StudyRecord) -> list[tuple[datetime, Row | None, Row | None]]:
    """(instant, arrival or None, event or None), oldest first."""
    arrivals = store.study_arrivals(conn, study.tenant, study.id)
    # An arrival that was seen again tells it itself.
    events = [
        event
        for event in store.study_events(conn, study.tenant, study.id)
        if event["event"] != "study_seen_again"
    ]
    lines: list[tuple[datetime, Row | None, Row | None]] = [(one["first_at"], one, None) for one in arrivals]
    lines += [(one["at"], None, one) for one in events]
    return sorted(lines, key=lambda line: line[0])
