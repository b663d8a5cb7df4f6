"""Re-issue: a finished review becomes an SR and a PDF of its own and goes where the result went. One durable job.

Nothing of it is a usage event: the case was charged when its result was delivered.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pydicom import dcmread

from dicom_gateway.child_process import ChildError
from dicom_gateway.encode_errors import EncodeError
from dicom_gateway.encode_review import ReviewContext, encode_reviewed_pdf, encode_reviewed_sr
from dicom_gateway.source_headers import SourceHeaderUnreadable
from pipeline import deliveries, reviews, store, verdict_store, work_list
from pipeline.critical_findings import critical_after_review
from pipeline.database import Connection
from pipeline.destinations import find_destination
from pipeline.errors import StudyFailed
from pipeline.guidelines.of_findings import setting_of
from pipeline.report import render_report_pdf
from pipeline.report_file import load_report, save_report
from pipeline.report_view import ReportView
from pipeline.result_set import ResultObject, as_object, guideline_words
from pipeline.reviewed_gate import check_reviewed_set
from pipeline.reviewed_view import with_review
from pipeline.reviews import ReviewedResult
from pipeline.services import Services
from pipeline.store import Row, StudyRecord
from pipeline.study_file import write_durably
from pipeline.ways_out.announce import announce_review, insert_object
from study.answer import Classification
from study.review import Review

_NOT_ISSUED = (EncodeError, FileNotFoundError, SourceHeaderUnreadable, ChildError, StudyFailed)


def reissue(services: Services, tenant: str, study_id: str, revision: int, product: str, number: int) -> None:
    """Write and send what the `number`th review of the result came to; a repeated job does nothing twice."""
    with services.database.transaction(tenant) as conn:
        result = reviews.open_result(conn, tenant, study_id, revision, product)
        review = verdict_store.read_finished(conn, result.key, number)
        own = _objects(conn, result)
        settings = store.get_tenant(conn, tenant)
        statements = _statements(conn, result)
    is_done = any(row["review"] == number for row in own)
    is_overtaken = result.books.review.number > number or result.newer_revision is not None
    if review is None or is_done or is_overtaken:
        return
    folders = services.folders
    with folders.results_at_hand(tenant, result.study.id, own):
        try:
            context = _context(services, result, review, own, settings, statements)
            made, view = _make(services, result, context, own, settings)
        except _NOT_ISSUED as error:
            _not_issued(services, result, review, error)
            return
        folders.objects.keep(tenant, [folders.results / str(result.study.id)])
    with services.database.transaction(tenant) as conn:
        study = store.lock_study(conn, tenant, study_id)
        if any(row["review"] == number for row in _objects(conn, result)):
            return  # another worker was faster
        at_revision = dataclasses.replace(study, revision=revision)
        for row in made:
            insert_object(conn, at_revision, row)
        _list(conn, at_revision, product, view, review)
        names = _plan(conn, study, revision, product, number)
        _announce(conn, services, at_revision, result, context)
        detail = {"by": review.by, "product": product, "review": number, "destinations": names}
        store.note(conn, study, "review_issued", detail=detail)
        for name in names:
            services.defer_delivery(conn, study, name, 0.0)


def _announce(
    conn: Connection, services: Services, study: StudyRecord, result: ReviewedResult, context: ReviewContext
) -> None:
    """Tell the destinations that are no PACS."""
    review, key = context.review, result.key
    root = services.folders.results
    folder = review_folder(root, study.id, key.revision, key.product, review.number)
    announce_review(
        conn,
        services,
        study,
        key.product,
        load_report(folder),
        str((folder / "report.pdf").relative_to(services.folders.results_of(study))),
        review,
        {one.finding_uid: one.number for one in result.items},
        context.codes,
    )


def _list(conn: Connection, study: StudyRecord, product: str, view: ReportView, review: Review) -> None:
    """Let the work list say of the result what its reviewed report says."""
    worst = view.guideline.worst if view.guideline else None
    critical = critical_after_review(view, review)
    work_list.note_result(conn, study, product, worst_category=worst, critical=critical)


def _not_issued(services: Services, result: ReviewedResult, review: Review, error: Exception) -> None:
    """Say on the study's timeline why there is no reviewed report; what the reader said stays."""
    reason = "files of the result are no longer here" if isinstance(error, FileNotFoundError) else str(error)
    code = error.code if isinstance(error, StudyFailed) else "RESULT_NOT_ENCODED"
    with services.database.transaction(result.key.tenant) as conn:
        detail = {"product": result.key.product, "review": review.number, "code": code, "reason": reason}
        store.note(conn, result.study, "review_not_issued", detail=detail)


def review_folder(results_root: Path, study_id: object, revision: int, product: str, number: int) -> Path:
    """Where the report and the objects of a review lie."""
    # Products come from the folder names of models; a digest keeps them from ever being a path here.
    name = hashlib.sha256(product.encode()).hexdigest()[:16]
    return results_root / str(study_id) / str(revision) / f"review-{number}-{name}"


def _objects(conn: Connection, result: ReviewedResult) -> list[Row]:
    """What was made of the result so far, earlier reviews first after the model's own."""
    return conn.execute(
        """SELECT kind, review, location, sha256 FROM result_object
           WHERE tenant = %(tenant)s AND study_id = %(study_id)s AND revision = %(revision)s AND product = %(product)s
           ORDER BY review, kind""",
        result.key.values,
    ).fetchall()


def _statements(conn: Connection, result: ReviewedResult) -> dict[str, Classification]:
    """By tracking UID what the model said of the whole image."""
    row = conn.execute(
        """SELECT answer->'classifications' AS statements FROM result
           WHERE tenant = %(tenant)s AND study_id = %(study_id)s AND revision = %(revision)s
             AND product = %(product)s""",
        result.key.values,
    ).fetchone()
    found = [Classification.from_json(one) for one in (row and row["statements"]) or []]
    return {one.tracking_uid: one for one in found}


def _context(
    services: Services,
    result: ReviewedResult,
    review: Review,
    own: list[Row],
    settings: Row,
    statements: dict[str, Classification],
) -> ReviewContext:
    assert review.at is not None
    zone = ZoneInfo(services.time_zone)
    earlier = [
        dcmread(services.folders.results / row["location"], stop_before_pixels=True)
        for row in own
        if row["kind"] == "SR"
    ]
    return ReviewContext(
        review=Review(
            review.state,
            review.by,
            review.at.astimezone(zone),
            review.verdicts,
            review.number,
            review.nothing_missed,
        ),
        names={one.finding_uid: f"finding {one.number}" for one in result.items}
        | {uid: one.title for uid, one in statements.items()},
        organization=settings["name"],
        statements={uid: one.label for uid, one in statements.items()},
        codes={one.label: one.code for one in statements.values()},
        sites={one.label: one.site for one in statements.values() if one.site is not None},
        is_verified=settings["review_verifies"],
        predecessors=earlier,
    )


def _make(
    services: Services, result: ReviewedResult, context: ReviewContext, own: list[Row], settings: Row
) -> tuple[list[dict[str, Any]], ReportView]:
    """The files of the review, once they have passed the gate: their rows, and the report that they hold."""
    root = services.folders.results
    source = {row["kind"]: root / row["location"] for row in own if row["review"] == 0}
    folder = review_folder(
        root, result.study.id, result.key.revision, result.key.product, context.review.number
    )
    language, setting = settings["language"], setting_of(settings)
    view = with_review(load_report(_report_folder(root, result)), result.items, context.review, setting)
    context = dataclasses.replace(context, guideline=guideline_words(view, language))
    pdf = render_report_pdf(view, language)
    documents, model = {}, None
    if "PDF" in source:
        model = dcmread(source["PDF"])
        documents["PDF"] = encode_reviewed_pdf(model, context, pdf)
    if "SR" in source:  # an older release made it only where a destination took it
        model = dcmread(source["SR"])
        documents["SR"] = encode_reviewed_sr(model, context)
    objects = [as_object(kind, document) for kind, document in documents.items()]
    if model is not None:
        check_reviewed_set(services, result, context, own, model, objects).require()
    save_report(folder, view, pdf)
    return [_write(root, folder, result, one, context) for one in objects], view


def _report_folder(root: Path, result: ReviewedResult) -> Path:
    """The model's own report: beside the study's own where another model came first."""
    folder = root / str(result.study.id) / str(result.key.revision)
    further = folder / result.key.product
    return further if (further / "report.json").is_file() else folder


def _write(
    root: Path, folder: Path, result: ReviewedResult, one: ResultObject, context: ReviewContext
) -> dict[str, Any]:
    path = folder / f"{one.kind.lower()}.dcm"
    write_durably(path, one.content)
    return {
        **result.key.values,
        "sop_instance_uid": one.sop_instance_uid,
        "series_instance_uid": one.series_instance_uid,
        "sop_class_uid": one.sop_class_uid,
        "kind": one.kind,
        "location": str(path.relative_to(root)),
        "sha256": hashlib.sha256(one.content).hexdigest(),
        "size_bytes": len(one.content),
        "review": context.review.number,
    }


def _plan(conn: Connection, study: StudyRecord, revision: int, product: str, review: int) -> list[str]:
    """Make the rows of a reviewed report: for each destination that has the model's own; returns their names.

    What of earlier reviews has not got anywhere is not sent any more. No destination must take it for the study to
    be delivered: it is delivered already.
    """
    conn.execute(
        """DELETE FROM delivery d USING result_object o
           WHERE o.tenant = d.tenant AND o.sop_instance_uid = d.sop_instance_uid AND d.tenant = %s AND d.study_id = %s
             AND o.revision = %s AND o.product = %s AND o.review BETWEEN 1 AND %s AND d.acknowledged_at IS NULL""",
        (study.tenant, study.id, revision, product, review - 1),
    )
    choices = [choice for choice in study.route if choice.get("product") == product]
    names = deliveries.names_by_product(conn, study, choices).get(product, [])
    for one in conn.execute(
        """SELECT sop_instance_uid, kind FROM result_object
           WHERE tenant = %s AND study_id = %s AND revision = %s AND product = %s AND review = %s""",
        (study.tenant, study.id, revision, product, review),
    ).fetchall():
        for name in names:
            target = find_destination(conn, study.tenant, name)
            if target is None or one["kind"] in target.object_kinds:
                conn.execute(
                    """INSERT INTO delivery (tenant, sop_instance_uid, destination, study_id, required)
                       VALUES (%s, %s, %s, %s, false) ON CONFLICT DO NOTHING""",
                    (study.tenant, one["sop_instance_uid"], name, study.id),
                )
    return list(dict.fromkeys(names))
