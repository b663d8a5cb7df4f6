"""Encode: each result becomes the objects that its destinations take, and a report for people."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Any

from dicom_gateway.child_process import ChildError
from dicom_gateway.decode import load_image
from dicom_gateway.encode_errors import EncodeError
from dicom_gateway.source_headers import SourceHeaderUnreadable
from pipeline import deliveries, store
from pipeline.database import Connection
from pipeline.errors import StudyFailed
from pipeline.guidelines.of_findings import chosen_guideline
from pipeline.models_for_study import model_of
from pipeline.report_file import save_report
from pipeline.result_set import ALWAYS_MADE, ResultSet, make_result_set
from pipeline.services import Outcome, Services
from pipeline.status import StudyStatus
from pipeline.store import StudyRecord
from pipeline.study_file import load_answer, load_study, write_durably


def encode_study(services: Services, record: StudyRecord) -> Outcome:
    """Write the result objects and the report of every routed model into the study's results folder."""
    with services.database.transaction(record.tenant) as conn:
        created_at = {
            row["product"]: row["created_at"]
            for row in store.results(conn, record.tenant, record.id, record.revision)
        }
        tenant = store.get_tenant(conn, record.tenant)
        delivered = store.superseded_objects(conn, record)
        kinds = deliveries.kinds_taken(conn, record) | ALWAYS_MADE
    rows: list[dict[str, Any]] = []
    has_report = False
    for choice in record.to_run:
        product = choice["product"]
        results = _make(
            services,
            record,
            choice,
            created_at[product],
            tenant,
            _uid_seed(tenant, choice),
            [services.folders.results / location for location in delivered.get(product, ())],
            kinds,
        )
        # The first model's report is the study's report; further ones lie beside it under their product, and so
        # does what runs in shadow: no clinician takes it for the study's, and there is nothing of it to deliver.
        folder = services.folders.results_of(record)
        is_shadow = bool(choice.get("shadow"))
        save_report(folder / product if has_report or is_shadow else folder, results.view, results.pdf)
        if not is_shadow:
            has_report = True
            rows.extend(_write_objects(services, record, product, results))

    def save(conn: Connection, study: StudyRecord) -> None:
        for row in rows:
            _insert_object(conn, study, row)

    detail = {"objects": [row["kind"] for row in rows]}
    return Outcome(save, detail, gives=None if has_report else StudyStatus.SHADOWED)


def _make(
    services: Services,
    record: StudyRecord,
    choice: dict[str, Any],
    created_at: Any,
    tenant: dict[str, Any],
    uid_seed: str,
    superseded: list[Path],
    kinds: frozenset[str],
) -> ResultSet:
    work = services.folders.work_of(record)
    try:
        return make_result_set(
            load_study(work),
            load_image(services.folders.image_of(record, choice)),
            load_answer(work, choice["product"]),
            model_of(services, choice).manifest,
            study_id=str(record.id),
            uid_seed=uid_seed,
            revision=record.revision,
            created_at=created_at,
            instances_root=services.folders.instances,
            language=tenant["language"],
            guideline=chosen_guideline(tenant["guideline"], tenant["guideline_setting"]),
            superseded=[path for path in superseded if path.is_file()],
            kinds=kinds,
        )
    except (EncodeError, SourceHeaderUnreadable, ChildError) as error:
        raise StudyFailed(
            "RESULT_NOT_ENCODED", f"The result cannot be written as DICOM objects: {error}"
        ) from error


def _uid_seed(tenant: dict[str, Any], choice: dict[str, Any]) -> str:
    """The same input, judged alike, gives the same UIDs, another never: keyed, so that nobody guesses them ahead."""
    secret, read = bytes(tenant["case_key_secret"]), choice["input_digest"]
    if "threshold" in choice:  # not in those that an older release has routed
        read += f" {choice['threshold']!r}"
    return hmac.new(secret, read.encode(), hashlib.sha256).hexdigest()


def _write_objects(
    services: Services, record: StudyRecord, product: str, results: ResultSet
) -> list[dict[str, Any]]:
    rows = []
    for one in results.objects:
        path = services.folders.results_of(record) / one.file_name(product)
        write_durably(path, one.content)
        rows.append(
            {
                "sop_instance_uid": one.sop_instance_uid,
                "product": product,
                "kind": one.kind,
                "location": str(path.relative_to(services.folders.results)),
                "sha256": hashlib.sha256(one.content).hexdigest(),
                "size_bytes": len(one.content),
            }
        )
    return rows


def _insert_object(conn: Connection, study: StudyRecord, row: dict[str, Any]) -> None:
    conn.execute(
        """INSERT INTO result_object (tenant, sop_instance_uid, study_id, revision, product, kind, location, sha256,
                                      size_bytes)
           VALUES (%(tenant)s, %(sop_instance_uid)s, %(study_id)s, %(revision)s, %(product)s, %(kind)s, %(location)s,
                   %(sha256)s, %(size_bytes)s)""",
        row | {"tenant": study.tenant, "study_id": study.id, "revision": study.revision},
    )
