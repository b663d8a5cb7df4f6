"""Encode: each result becomes the objects that its destinations take, and a report for people."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from dicom_gateway.child_process import ChildError
from dicom_gateway.decode import load_image
from dicom_gateway.encode_errors import EncodeError
from dicom_gateway.source_headers import SourceHeaderUnreadable
from dicom_gateway.volume_files import VolumeNotDecoded, load_volume
from pipeline import deliveries, store, work_list
from pipeline.check_results import NOT_CONFORMANT, CheckVerdict, check_result_set
from pipeline.critical_findings import critical_codes
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
from pipeline.ways_out.announce import insert_object, result_messages
from study.volume import Volume


def encode_study(services: Services, record: StudyRecord) -> Outcome:
    """Write the result objects and the report of every routed model into the study's results folder."""
    with services.database.transaction(record.tenant) as conn:
        result_of = {
            row["product"]: row for row in store.results(conn, record.tenant, record.id, record.revision)
        }
        tenant = store.get_tenant(conn, record.tenant)
        delivered = store.superseded_objects(conn, record)
        kinds = deliveries.kinds_taken(conn, record) | ALWAYS_MADE
        rows_read = store.instances(conn, record.tenant, record.id)
    made: list[tuple[dict[str, Any], ResultSet]] = []
    verdicts: dict[str, CheckVerdict] = {}
    for choice in record.to_run:
        product = choice["product"]
        uid = choice["series_instance_uid"]
        series = [row for row in rows_read if row["series_instance_uid"] == uid]
        with (
            services.folders.instances_at_hand(record.tenant, series),
            services.folders.results_at_hand(record.tenant, record.id),
        ):
            results, verdicts[product] = _make(
                services,
                record,
                choice,
                result_of[product],
                tenant,
                _uid_seed(tenant, choice),
                [services.folders.results / location for location in delivered.get(product, ())],
                kinds,
            )
        made.append((choice, results))
    stopped = _stopped(record, verdicts)
    if stopped is not None:
        return stopped
    rows: list[dict[str, Any]] = []
    has_report = False
    for choice, results in made:
        product = choice["product"]
        # The first model's report is the study's report; further ones lie beside it under their product, and so
        # does what runs in shadow: no clinician takes it for the study's, and there is nothing of it to deliver.
        folder = services.folders.results_of(record)
        is_shadow = bool(choice.get("shadow"))
        place = folder / product if has_report or is_shadow else folder
        save_report(place, results.view, results.pdf)
        if not is_shadow:
            has_report = True
            rows.extend(_write_objects(services, record, product, results))
            rows.extend(_write_messages(services, record, product, results, place / "report.pdf"))

    listed = {
        choice["product"]: _listed(services, record, choice["product"], results) for choice, results in made
    }

    def save(conn: Connection, study: StudyRecord) -> None:
        _save_verdicts(conn, study, verdicts)
        for product, (worst_category, critical) in listed.items():
            work_list.note_result(conn, study, product, worst_category=worst_category, critical=critical)
        for row in rows:
            insert_object(conn, study, row)

    detail = {"objects": [row["kind"] for row in rows]}
    return Outcome(save, detail, gives=None if has_report else StudyStatus.SHADOWED)


def _stopped(record: StudyRecord, verdicts: dict[str, CheckVerdict]) -> Outcome | None:
    """The end of a study whose objects our own check objects to; nothing of it is written or sent.

    What runs in shadow goes nowhere, so its verdict is kept and stops nobody.
    """
    shadows = {choice["product"] for choice in record.to_run if choice.get("shadow")}
    bad = [one for product, one in verdicts.items() if one.problems and product not in shadows]
    if not bad:
        return None
    return Outcome(
        lambda conn, study: _save_verdicts(conn, study, verdicts),
        gives=StudyStatus.FAILED,
        reason=(NOT_CONFORMANT, bad[0].reason),
    )


def _save_verdicts(conn: Connection, study: StudyRecord, verdicts: dict[str, CheckVerdict]) -> None:
    for product, verdict in verdicts.items():
        conn.execute(
            """UPDATE result SET conformance = %s
               WHERE tenant = %s AND study_id = %s AND revision = %s AND product = %s""",
            (Jsonb(verdict.as_json()), study.tenant, study.id, study.revision, product),
        )


def _make(
    services: Services,
    record: StudyRecord,
    choice: dict[str, Any],
    result: dict[str, Any],
    tenant: dict[str, Any],
    uid_seed: str,
    superseded: list[Path],
    kinds: frozenset[str],
) -> tuple[ResultSet, CheckVerdict]:
    """The set and what the gate says of it."""
    work = services.folders.work_of(record)
    try:
        image = load_image(services.folders.image_of(record, choice))
        manifest = model_of(services, choice).manifest
        results = make_result_set(
            load_study(work),
            image,
            load_answer(work, choice["product"]),
            manifest,
            study_id=str(record.id),
            uid_seed=uid_seed,
            revision=record.revision,
            created_at=result["created_at"],
            instances_root=services.folders.instances,
            language=tenant["language"],
            prior_volume=_prior_volume(services, record, choice["product"], result["prior_study_id"]),
            guideline=chosen_guideline(tenant["guideline"], tenant["guideline_setting"]),
            superseded=[path for path in superseded if path.is_file()],
            kinds=kinds,
        )
    except (EncodeError, SourceHeaderUnreadable, ChildError) as error:
        raise StudyFailed(
            "RESULT_NOT_ENCODED", f"The result cannot be written as DICOM objects: {error}"
        ) from error
    verdict = check_result_set(
        results.objects,
        results.sources,
        model_name=manifest.name,
        model_version=manifest.version,
        image=image,
        predecessors=results.predecessors,
    )
    return results, verdict


def _listed(
    services: Services, record: StudyRecord, product: str, results: ResultSet
) -> tuple[str | None, list[str]]:
    """What the work list says of a result: the guideline's worst category, the codes of critical findings."""
    guideline = results.view.guideline
    answer = load_answer(services.folders.work_of(record), product)
    return guideline.worst if guideline else None, critical_codes(answer, guideline)


def _prior_volume(
    services: Services, record: StudyRecord, product: str, prior_study_id: UUID | None
) -> Volume | None:
    """What the model read of the prior, for its pictures; a step that runs again much later may not find it."""
    if prior_study_id is None:
        return None
    try:
        return load_volume(services.folders.prior_of(record, product, prior_study_id))
    except VolumeNotDecoded:
        return None


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
                "series_instance_uid": one.series_instance_uid,
                "sop_class_uid": one.sop_class_uid,
                "product": product,
                "kind": one.kind,
                "location": str(path.relative_to(services.folders.results)),
                "sha256": hashlib.sha256(one.content).hexdigest(),
                "size_bytes": len(one.content),
            }
        )
    return rows


def _write_messages(
    services: Services, record: StudyRecord, product: str, results: ResultSet, pdf: Path
) -> list[dict[str, Any]]:
    """What destinations that are no PACS are told of the result."""
    answer = load_answer(services.folders.work_of(record), product)
    with services.database.transaction(record.tenant) as conn:
        place = str(pdf.relative_to(services.folders.results_of(record)))
        return result_messages(conn, services, record, product, results.view, answer, place)
