"""Announce: a message becomes an object of the study with its deliveries, in the transaction of what it tells of.

FHIR and ORU of a result are made by the encode step and planned like its DICOM objects; everything later, and every
EVENT, is made here and holds up nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline import store
from pipeline.database import Connection
from pipeline.destinations import DestinationRecord, list_destinations
from pipeline.report_view import ReportView
from pipeline.services import Folders, Services
from pipeline.status import StudyStatus
from pipeline.store import Row, StudyRecord
from pipeline.study_file import write_durably
from pipeline.ways_out.items import items_of
from pipeline.ways_out.told import Told, encode_told, load_told, message_uid
from study.answer import Answer
from study.codes import Code
from study.review import Review, VerdictKind

_DOCUMENTS = ("FHIR", "ORU")
NOT_OURS = frozenset({"NO_RULE_MATCHED"})
"""A study that no rule takes is none of ours: others would be told of every image that passes."""


def hearers(conn: Connection, tenant: str) -> list[DestinationRecord]:
    """The destinations that are no PACS: they hear of every study, whatever the routing rules name."""
    return [one for one in list_destinations(conn, tenant) if one.enabled and not one.is_pacs]


def result_messages(
    conn: Connection,
    services: Services,
    study: StudyRecord,
    product: str,
    view: ReportView,
    answer: Answer,
    pdf: str,
) -> list[Row]:
    """Write what FHIR and HL7 destinations are told of a result; returns the rows of `result_object`.

    pdf: the report's file, relative to the folder of the study's results.
    """
    wanted = {kind for one in hearers(conn, study.tenant) for kind in _DOCUMENTS if one.wants(kind, "result")}
    before = _told_before(conn, services.folders, study, product, study.revision - 1)
    rows = []
    for kind in sorted(wanted):
        told = _of_study(
            conn, services, study, "result", product, view.created_at, kind,
            report=view,
            pdf=pdf,
            codes=_codes(answer),
            **_corrected(before),
        )  # fmt: skip
        rows.append(_write(services.folders, study, kind, told))
    return rows


def announce_end(conn: Connection, services: Services, study: StudyRecord, products: Sequence[str]) -> None:
    """Tell of the end of a locked study: delivered, refused or failed. products: those that it is about."""
    if study.reason_code in NOT_OURS:
        return
    now = conn.execute("SELECT now() AS now").fetchone()
    assert now is not None
    at = now["now"]
    shadows = {choice["product"] for choice in study.route if choice.get("shadow")}
    products = [product for product in products if product not in shadows]
    results = store.results(conn, study.tenant, study.id)
    is_first = not any(row["is_delivered"] for row in results if row["revision"] < study.revision)
    for event in _events(conn, study, is_first=is_first):
        told = _of_study(conn, services, study, event, ", ".join(products), at, "EVENT").without_patient()
        announce(conn, services, study, "EVENT", told)
    # What has a result, or an earlier one that stands, is not told as without one.
    has_result = any(row["revision"] == study.revision for row in results)
    if study.status in (StudyStatus.REJECTED, StudyStatus.FAILED) and is_first and not has_result:
        event = "refused" if study.status is StudyStatus.REJECTED else "failed"
        for product in products:
            _announce_none(conn, services, study, event, product, at)
    for choice in study.refused_choices:  # their models could not judge what others could
        why = choice["refused"]
        _announce_none(
            conn,
            services,
            study,
            "refused",
            choice["product"],
            at,
            reason_code=why["code"],
            reason_text=why["text"],
        )


def _announce_none(
    conn: Connection, services: Services, study: StudyRecord, event: str, product: str, at: Any, **reason: Any
) -> None:
    """Tell those who wait for a report of the product that there is none."""
    for kind in _DOCUMENTS:
        told = replace(_of_study(conn, services, study, event, product, at, kind), **reason)
        announce(conn, services, study, kind, told)


def announce_review(
    conn: Connection,
    services: Services,
    study: StudyRecord,
    product: str,
    view: ReportView,
    pdf: str,
    review: Review,
    numbers: Mapping[str, int],
    codes: Mapping[str, Code],
) -> None:
    """Tell of a finished review of a result of a locked study.

    study: at the revision that was reviewed. view, pdf: the report after the review, as for a result.
    numbers: finding's UID → its number. codes: see `Told`.
    """
    assert review.by is not None
    assert review.at is not None
    verdicts = [(numbers.get(one.finding_uid or ""), one) for one in review.verdicts]
    said = [(number, one) for number, one in verdicts if number is not None]
    before = _told_before(conn, services.folders, study, product, study.revision)
    for kind in (*_DOCUMENTS, "EVENT"):
        told = _of_study(
            conn, services, study, "reviewed", product, review.at, kind,
            report=view,
            pdf=pdf,
            codes={label: (code.value, code.scheme, code.meaning) for label, code in codes.items()},
            reviewer=review.by,
            reviewed_at=review.at.isoformat(),
            rejected=tuple(number for number, one in said if one.kind is VerdictKind.REJECT),
            edits={str(number): (one.size_mm, one.nodule_kind) for number, one in said if one.kind is VerdictKind.EDIT},
            missed=tuple((one.label, one.size_mm, one.nodule_kind) for one in review.missed),
            **_corrected(before),
        )  # fmt: skip
        announce(
            conn, services, study, kind, told.without_patient() if kind == "EVENT" else told, review.number
        )


def announce(
    conn: Connection, services: Services, study: StudyRecord, kind: str, told: Told, review: int = 0
) -> None:
    """Make the object and its deliveries to those who want to hear of it, and start their jobs.

    review: the number of the finished review that it tells.
    """
    targets = [one for one in hearers(conn, study.tenant) if one.wants(kind, told.event)]
    if not targets:
        return
    row = _write(services.folders, study, kind, told) | {"review": review}
    insert_object(conn, study, row)
    for target in targets:
        conn.execute(
            """INSERT INTO delivery (tenant, sop_instance_uid, destination, study_id, required)
               VALUES (%s, %s, %s, %s, false)""",
            (study.tenant, told.message_uid, target.name, study.id),
        )
        services.defer_delivery(conn, study, target.name, 0.0)


def insert_object(conn: Connection, study: StudyRecord, row: Row) -> None:
    """One row of `result_object`: of an encoded instance or of a message."""
    conn.execute(
        """INSERT INTO result_object (tenant, sop_instance_uid, series_instance_uid, sop_class_uid, study_id, revision,
                                      product, kind, event, location, sha256, size_bytes, review)
           VALUES (%(tenant)s, %(sop_instance_uid)s, %(series_instance_uid)s, %(sop_class_uid)s, %(study_id)s,
                   %(revision)s, %(product)s, %(kind)s, %(event)s, %(location)s, %(sha256)s, %(size_bytes)s,
                   %(review)s)""",
        {"event": "result", "review": 0, "series_instance_uid": None, "sop_class_uid": None}
        | row
        | {"tenant": study.tenant, "study_id": study.id, "revision": study.revision},
    )


def _corrected(before: Told | None) -> dict[str, Any]:
    """What a message says of the one that it replaces."""
    if before is None:
        return {}
    was_final = before.was_final or bool(before.reviewer)
    return {"was_final": was_final, "replaced_findings": max(len(items_of(before)), before.replaced_findings)}


def _codes(answer: Answer) -> dict[str, tuple[str, str, str]]:
    named = [(one.label, one.code) for one in answer.classifications]
    named += [(one.label, one.code) for one in answer.structures]
    return {label: (code.value, code.scheme, code.meaning) for label, code in named}


def _events(conn: Connection, study: StudyRecord, *, is_first: bool) -> list[str]:
    if study.status is StudyStatus.REJECTED:
        return ["refused"]
    if study.status is StudyStatus.FAILED:
        return ["failed"]
    if study.status is not StudyStatus.DELIVERED:
        return []
    critical = conn.execute(
        """SELECT 1 FROM result
           WHERE tenant = %s AND study_id = %s AND revision = %s AND NOT is_shadow AND critical <> '{}' LIMIT 1""",
        (study.tenant, study.id, study.revision),
    ).fetchone()
    return ["result", *([] if is_first else ["superseded"]), *(["critical"] if critical else [])]


def _of_study(
    conn: Connection,
    services: Services,
    study: StudyRecord,
    event: str,
    product: str,
    at: Any,
    kind: str,
    **more: Any,
) -> Told:
    tenant = store.get_tenant(conn, study.tenant)
    number = conn.execute(
        """SELECT count(*) AS n FROM result_object
           WHERE tenant = %s AND study_id = %s AND revision = %s AND kind = %s AND event = %s""",
        (study.tenant, study.id, study.revision, kind, event),
    ).fetchone()
    header: dict[str, Any] = {name: str(study.header.get(key) or "") for name, key in _HEADER.items()}
    return Told(
        # An event may come again, a failure for instance: then it is another message.
        message_uid=message_uid(study.id, study.revision, product, kind, event, number and number["n"]),
        event=event,
        at=at,
        study_id=str(study.id),
        revision=study.revision,
        product=product,
        study_instance_uid=study.study_instance_uid,
        language=tenant["language"],
        reason_code=study.reason_code or "",
        reason_text=study.reason_text or "",
        report_url=f"{services.portal_url}/studies/{study.id}" if services.portal_url else "",
        **header,
        **more,
    )


_HEADER = {
    "accession_number": "accession_number",
    "patient_id": "patient_id",
    "patient_name": "patient_name",
    "patient_birth_date": "patient_birth_date",
    "patient_sex": "patient_sex",
    "study_date": "study_date",
    "study_time": "study_time",
    "study_description": "description",
}
"""What is told of the study → its name in the study's header."""


def _told_before(
    conn: Connection, folders: Folders, study: StudyRecord, product: str, revision_max: int
) -> Told | None:
    """What was last told of the product, up to that revision."""
    row = conn.execute(
        """SELECT o.location FROM result_object o
           WHERE o.tenant = %s AND o.study_id = %s AND o.product = %s AND o.revision <= %s AND o.kind IN ('FHIR', 'ORU')
           ORDER BY o.revision DESC, o.review DESC LIMIT 1""",
        (study.tenant, study.id, product, revision_max),
    ).fetchone()
    if row is None:
        return None
    path = folders.results / row["location"]
    try:
        with folders.objects.at_hand(study.tenant, [path]):
            return load_told(path)
    except (OSError, ValueError):
        return None  # swept


def _write(folders: Folders, study: StudyRecord, kind: str, told: Told) -> Row:
    content = encode_told(told)
    path = folders.results_of(study) / f"{told.message_uid.rpartition('.')[2]}.{kind.lower()}.json"
    write_durably(path, content)
    folders.objects.keep(study.tenant, [path.parent])
    return {
        "sop_instance_uid": told.message_uid,
        "product": told.product,
        "kind": kind,
        "event": told.event,
        "location": str(path.relative_to(folders.results)),
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
    }
