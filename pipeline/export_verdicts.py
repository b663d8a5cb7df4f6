"""Feedback for retraining: each verdict that counts, with the images it is about by reference and no patient."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pipeline import store, verdict_store
from pipeline.database import Connection
from pipeline.store import Row
from pipeline.verdict_store import Books, ResultKey
from study.review import Verdict, VerdictKind

_FINDING = (
    "label", "score", "center_lps_mm", "bbox_lps_mm", "mean_diameter_mm", "long_axis_mm", "short_axis_mm",
    "volume_mm3", "slice_sop_instance_uid", "slice_frame_number",
)  # fmt: skip
_STATEMENT = ("label", "probability", "threshold", "is_positive", "region_px")


def export_verdicts(
    conn: Connection,
    tenant: str,
    *,
    product: str,
    since: datetime,
    with_notes: bool = False,
    is_finished_only: bool = True,
) -> Iterator[dict[str, Any]]:
    """One record for each finding or statement that was judged, and one for each result as a whole.

    Results about which something was said from `since` on. Readers are pseudonyms that stay the same within the tenant.
    with_notes: what readers typed, which can name a patient.
    """
    secret = bytes(store.get_tenant(conn, tenant)["case_key_secret"])
    for row in conn.execute(
        """SELECT r.study_id, r.revision, r.product, r.model_name, r.model_version, r.weights_sha256,
                  r.input_digest, r.findings, r.answer->'classifications' AS statements, s.study_instance_uid, s.route
           FROM result r JOIN study s ON s.tenant = r.tenant AND s.id = r.study_id
           WHERE r.tenant = %s AND r.product = %s AND EXISTS (
               SELECT 1 FROM verdict v WHERE v.tenant = r.tenant AND v.study_id = r.study_id
                 AND v.revision = r.revision AND v.product = r.product AND v.said_at >= %s)
           ORDER BY r.created_at, r.study_id, r.revision""",
        (tenant, product, since),
    ).fetchall():
        key = ResultKey(tenant, row["study_id"], row["revision"], row["product"])
        books = verdict_store.read(conn, key)
        if is_finished_only and not books.review.number:
            continue
        yield from _records(row, books, secret, with_notes=with_notes)


def _records(row: Row, books: Books, secret: bytes, *, with_notes: bool) -> Iterator[dict[str, Any]]:
    choice: Row = next((one for one in row["route"] if one.get("product") == row["product"]), {})
    about = {
        "study_instance_uid": row["study_instance_uid"],
        "series_instance_uid": choice.get("series_instance_uid"),
        "model": row["model_name"],
        "model_version": row["model_version"],
        "weights_sha256": row["weights_sha256"],
        "input_digest": row["input_digest"],
        "revision": row["revision"],
        "review": books.review.number,
        "state": books.review.state.value,
    }
    findings = {one["tracking_uid"]: _part(one, _FINDING) | _kind(one) for one in row["findings"]}
    statements = {one["tracking_uid"]: _part(one, _STATEMENT) for one in row["statements"] or []}
    for verdict in books.review.verdicts:
        uid = str(verdict.finding_uid)
        yield about | {
            "about": "finding" if uid in findings or verdict.kind is VerdictKind.MISSED else "statement",
            "tracking_uid": uid,
            "said_by_model": findings.get(uid) or statements.get(uid),
            **_said(verdict, secret, with_notes=with_notes),
        }
    yield about | {
        "about": "result",
        "findings": len(findings),
        "missed": len(books.review.missed),
        "nothing_missed": books.review.nothing_missed,
    }


def _part(record: Row, names: tuple[str, ...]) -> Row:
    return {name: record.get(name) for name in names}


def _kind(finding: Row) -> Row:
    return {"nodule_kind": (finding.get("nodule") or {}).get("kind")}


def _said(verdict: Verdict, secret: bytes, *, with_notes: bool) -> Row:
    reader = hmac.new(secret, f"reader {verdict.by}".encode(), hashlib.sha256).hexdigest()[:16]
    said: Row = {
        "verdict": verdict.kind.value,
        "said_at": verdict.at.isoformat(),
        "reader": reader,
        "size_mm": verdict.size_mm,
        "nodule_kind": verdict.nodule_kind.value if verdict.nodule_kind is not None else None,
    }
    if verdict.place is not None:
        uid, column, row = verdict.place
        frame = verdict.frame_number
        place = {"sop_instance_uid": uid, "frame_number": frame, "column": column, "row": row}
        said |= {"label": verdict.label, "place": place}
    return said | ({"note": verdict.note} if with_notes else {})
