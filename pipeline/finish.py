"""Meter: the usage events of a study that has come to an end, in the transaction of that end."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.books.hospital_count import request_token
from billing.guarding import guard
from billing.metering import meter
from billing.metering.usage import TEXT_LENGTH_MAX, Purpose, UsageEvent
from pipeline import case_evidence, peers, store
from pipeline.database import Connection
from pipeline.metered import Metered
from pipeline.status import StudyStatus
from pipeline.store import Row, StudyRecord

_KIND = {
    StudyStatus.DELIVERED: "result_delivered",
    StudyStatus.SHADOWED: "result_delivered",
    StudyStatus.REJECTED: "refused",
    StudyStatus.FAILED: "failed",
}


def record_outcome(
    conn: Connection, study: StudyRecord, *, unchanged: bool, refused: tuple[str, ...] = ()
) -> tuple[Metered, ...]:
    """One usage event for each product of a study that was delivered, shadowed, refused or failed.

    unchanged: late instances did not change what the models read; nothing new was delivered.
    refused: the products that found no input; those that the tenant subscribes to where none is named.
    Returns what billing decided of each.
    """
    kind = _KIND.get(study.status)
    if kind is None or unchanged:
        return ()
    now = conn.execute("SELECT now() AS now, clock_timestamp() AS heard").fetchone()
    assert now is not None
    key = f"r{study.revision}{_again(conn, study)}"
    facts = [(product, kind) for product in products_of(conn, study, refused)]
    # Their models could not judge what others could.
    facts += [(choice["product"], "refused") for choice in study.refused_choices]
    metered = []
    for product, what in facts:
        event = usage_event(conn, study, product, what, now["now"], key=key)
        decision = meter.record(conn, event, received_at=now["heard"])
        metered.append(Metered(what, decision.outcome.value, decision.reason_code.value))
    return tuple(metered)


def _again(conn: Connection, study: StudyRecord) -> str:
    """A delivery that a person asked for again may fail again: the fact of another time."""
    if study.status is not StudyStatus.FAILED:
        return ""
    row = conn.execute(
        """SELECT count(*) AS times FROM study_event
           WHERE tenant = %s AND study_id = %s AND revision = %s AND event = 'study_failed'""",
        (study.tenant, study.id, study.revision),
    ).fetchone()
    return f"-{row['times']}" if row and row["times"] > 1 else ""


def products_of(conn: Connection, study: StudyRecord, refused: tuple[str, ...]) -> list[str]:
    """What the route chose, else what it refused, else what the tenant subscribes to."""
    routed = [choice["product"] for choice in study.to_run]
    return routed or list(refused) or list(store.get_tenant(conn, study.tenant)["models"])


def usage_event(
    conn: Connection, study: StudyRecord, product: str, kind: str, at: datetime, *, key: str
) -> UsageEvent:
    """The usage event of one fact; its id is derived from the fact, so a repeated step makes the same one."""
    secret = bytes(store.get_tenant(conn, study.tenant)["case_key_secret"])
    question = str(study.header.get("accession_number", ""))
    peer = peers.get_peer(conn, study.tenant, study.ae_title)
    evidence: dict[str, Any] = {"study": str(study.id), "revision": study.revision}
    choice: dict[str, Any] = next((one for one in study.route if one["product"] == product), {})
    reason_code = choice.get("refused", {}).get("code") or study.reason_code
    if reason_code:
        evidence["reason_code"] = reason_code
    over_limit = guard.flag_of(conn, study.tenant, str(study.id), study.revision, product)
    if over_limit is not None:
        evidence["over_limit"] = over_limit
    evidence |= case_evidence.delivery_proof(conn, study.tenant, study.id, study.revision, product)
    return UsageEvent(
        tenant=study.tenant,
        source="pipeline",
        event_id=f"{study.id}:{product}:{kind}:{key}",
        kind=kind,
        product=product,
        quantity=Decimal(1),
        occurred_at=at,
        study_ref=str(study.id),
        case_key=meter.case_key(secret, study.study_instance_uid, product, question),
        dimensions={
            "purpose": _purpose(study, product, is_test_peer=bool(peer and peer["is_test"])),
            "revision": str(study.revision),
            **priced_dimensions(study.ae_title, peer, choice),
            # By this the hospital finds its own order in a bill; it holds the key too.
            **({"request": request_token(secret, question)} if question.strip() else {}),
        },
        evidence=evidence,
    )


def priced_dimensions(ae_title: str, peer: Row | None, choice: Row) -> dict[str, str]:
    """What prices and limits tell a result apart by: who sent the study, from where, and what the model is."""
    read = {name: choice.get(name) for name in ("publisher", "modality", "model", "model_version")}
    return {
        "sending_peer": ae_title,
        **peers.place_of(peer),
        **{name: value[:TEXT_LENGTH_MAX] for name, value in read.items() if value and value.isprintable()},
    }


def _purpose(study: StudyRecord, product: str, *, is_test_peer: bool) -> Purpose:
    if any(choice["product"] == product and choice.get("shadow") for choice in study.route):
        return Purpose.SHADOW
    return Purpose.TEST_PEER if is_test_peer else Purpose.CLINICAL
