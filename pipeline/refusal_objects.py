"""A refused study leaves an object of its own in the PACS, where the tenant wants it: not analysed, why, what to do.

The study is over when it is sent, it holds up nothing, and nothing of it is charged. Programs are told of refusals by
`ways_out.announce`, in the same transaction.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain, islice
from typing import Any

from pydicom.dataset import Dataset

from dicom_gateway.encode_pdf import encode_pdf
from dicom_gateway.encode_refusal import NOT_ANALYSED, describe, encode_refusal
from dicom_gateway.encode_sc import encode_captures
from dicom_gateway.result_context import ResultContext
from dicom_gateway.source_headers import read_headers
from models.manifest import Manifest
from pipeline import deliveries, finish, store
from pipeline.capture_pictures import draw_page
from pipeline.check_results import check_result_set
from pipeline.database import Connection
from pipeline.destinations import DestinationRecord, find_destination
from pipeline.reason_text import reason_text
from pipeline.report import build_report, render_report_pdf
from pipeline.result_set import ResultObject, as_object
from pipeline.services import Outcome, Services
from pipeline.status import StudyStatus
from pipeline.store import Row, StudyRecord
from pipeline.study_file import load_study, write_durably
from pipeline.ways_out.announce import NOT_OURS, insert_object
from storage.errors import StoreNotReady
from study.study import Series, Study

log = logging.getLogger("radmeter.pipeline")

_EVIDENCE_MAX = 2000
_KINDS = ("SR", "SC", "PDF")


def with_refusal_object(services: Services, study: StudyRecord, outcome: Outcome) -> Outcome:
    """The end of a refused study with the object that its tenant wants; what goes wrong with it changes nothing."""
    code, text = outcome.reason or ("", "")
    with services.database.transaction(study.tenant) as conn:
        tenant = store.get_tenant(conn, study.tenant)
        if not tenant["refusal_object"] or code in NOT_OURS:
            return outcome
        products = finish.products_of(conn, study, outcome.refused)
        targets = _targets(conn, study, products)
        now = conn.execute("SELECT now() AS now").fetchone()
    assert now is not None
    try:
        manifest = services.get_model(products[0]).manifest
        rows = _make(services, study, tenant, manifest, products, (code, text), now["now"])
    except StoreNotReady:
        raise
    except Exception:  # unreadable headers, a model that is gone: the refusal itself stands on the study page
        log.exception("refusal_object_not_made", extra={"study": str(study.id)})
        return replace(outcome, detail=outcome.detail | {"refusal_object": "not made"})

    def save(conn: Connection, locked: StudyRecord) -> None:
        outcome.save(conn, locked)
        for row in rows:
            insert_object(conn, locked, row)
        for target in targets:
            _plan(services, conn, locked, target, rows)

    return replace(outcome, save=save)


def _targets(conn: Connection, study: StudyRecord, products: Sequence[str]) -> list[DestinationRecord]:
    """Where the results would have gone."""
    choices = study.route or [{"product": products[0]}]
    named = deliveries.names_by_product(conn, study, choices)
    found = [find_destination(conn, study.tenant, name) for name in dict.fromkeys(chain(*named.values()))]
    return [one for one in found if one is not None and one.is_pacs]


def _plan(
    services: Services, conn: Connection, study: StudyRecord, target: DestinationRecord, rows: list[Row]
) -> None:
    """The SR where it is taken, else the first that is; what refuses the SR falls back as with results."""
    kind = next((kind for kind in (*_KINDS[:1], *target.stand_ins, *_KINDS[1:]) if target.wants(kind)), None)
    chosen = [row for row in rows if row["kind"] == kind]
    for row in chosen:
        conn.execute(
            """INSERT INTO delivery (tenant, sop_instance_uid, destination, study_id, required)
               VALUES (%s, %s, %s, %s, false)""",
            (study.tenant, row["sop_instance_uid"], target.name, study.id),
        )
    if chosen:
        services.defer_delivery(conn, study, target.name, 0.0)


def _make(
    services: Services,
    record: StudyRecord,
    tenant: dict[str, Any],
    manifest: Manifest,
    products: Sequence[str],
    reason: tuple[str, str],
    at: datetime,
) -> list[Row]:
    """Write SR, capture and PDF; returns the rows of `result_object`. Raises where one of them may not leave."""
    study = load_study(services.folders.work_of(record))
    seed = f"refusal {study.study_instance_uid} {record.revision} {reason[0]}"
    context = ResultContext(
        uid_seed=hmac.new(bytes(tenant["case_key_secret"]), seed.encode(), hashlib.sha256).hexdigest(),
        source_headers=_headers(services, record, study),
        image=None,
        findings=(),
        model_name=manifest.name,
        model_version=manifest.version,
        weights_sha256=manifest.weights_sha256,
        publisher=manifest.publisher,
        clearance_status=manifest.clearance_status,
        intended_use=manifest.intended_use,
        created_at=at,
        revision=record.revision,
        language=tenant["language"],
    )
    view = build_report(
        study,
        job_id=str(record.id),
        created_at=at,
        status=StudyStatus.REJECTED,
        reason=reason,
        revision=record.revision,
    )
    made = refusal_datasets(context, render_report_pdf(view, tenant["language"]), products, reason)
    objects = [as_object(kind, dataset) for kind, dataset in made.items()]
    check_result_set(
        objects,
        context.source_headers,
        model_name=manifest.name,
        model_version=manifest.version,
        notice=NOT_ANALYSED,
    ).require()
    return [_write(services, record, products[0], one) for one in objects]


def refusal_datasets(
    context: ResultContext, pdf: bytes, products: Sequence[str], reason: tuple[str, str]
) -> dict[str, Dataset]:
    """By kind: the report, the page and the PDF that say that there is no result."""
    conclusion, advice = sentences(products, reason, context.language)
    title = conclusion[0]
    made = {
        "SR": encode_refusal(context, conclusion, advice),
        "SC": encode_captures(context, [draw_page(context, title, [*conclusion[1:], *advice])])[0],
        "PDF": encode_pdf(context, pdf),
    }
    made["SC"].ImageComments = title
    made["PDF"].DocumentTitle = f"{context.model_name} {context.model_version}: {NOT_ANALYSED}"
    for dataset in made.values():
        describe(dataset, context)
    return made


def sentences(products: Sequence[str], reason: tuple[str, str], language: str) -> tuple[list[str], list[str]]:
    """Why there is no result, and what to do."""
    code, text = reason
    told = reason_text(code, text, language)
    names = ", ".join(products)
    if language == "zh":
        return (
            [
                "未经人工智能分析",
                "没有人工智能结果。这不等于“未标记所见”。",
                f"原因：{told}（{code}）",
                f"模型：{names}",
            ],
            ["请按常规阅片。若原因可以消除，请补发合适的序列，系统会再次分析。"],
        )
    return (
        [
            "NOT ANALYSED BY AI",
            "There is no AI result for this study. That is not the same as “no finding”.",
            f"Reason: {told} ({code})",
            f"Model: {names}",
        ],
        [
            "Read the images as without AI. Where the reason can be mended, send a suitable series; it is analysed."
        ],
    )


def _headers(services: Services, record: StudyRecord, study: Study) -> list[Dataset]:
    """The header of the first image, and who the others of its series are."""
    series = _series(record, study)
    first, *others = islice(series.instances, _EVIDENCE_MAX)
    with services.database.transaction(record.tenant) as conn:
        rows = store.instances(conn, record.tenant, record.id)
    wanted = [row for row in rows if row["location"] == first.location]
    with services.folders.instances_at_hand(record.tenant, wanted):
        (header,) = read_headers([services.folders.instances / first.location])
    references = []
    for one in others:
        reference = Dataset()
        reference.SOPClassUID, reference.SOPInstanceUID = one.sop_class_uid, one.sop_instance_uid
        reference.StudyInstanceUID = header.StudyInstanceUID
        reference.SeriesInstanceUID = header.SeriesInstanceUID
        references.append(reference)
    return [header, *references]


def _series(record: StudyRecord, study: Study) -> Series:
    """The series that was chosen, else the one with most images."""
    chosen = {choice.get("series_instance_uid") for choice in record.route}
    return max(study.series, key=lambda one: (one.series_instance_uid in chosen, len(one.instances)))


def _write(services: Services, record: StudyRecord, product: str, one: ResultObject) -> Row:
    path = services.folders.results_of(record) / f"refusal.{one.kind.lower()}.dcm"
    write_durably(path, one.content)
    return {
        "sop_instance_uid": one.sop_instance_uid,
        "product": product,
        "kind": one.kind,
        "event": "refused",
        "location": str(path.relative_to(services.folders.results)),
        "sha256": hashlib.sha256(one.content).hexdigest(),
        "size_bytes": len(one.content),
    }
