"""The books of delivery: one row for each result object and destination, written in the caller's transaction."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from dicom_gateway.delivery_outcome import DeliveryOutcome
from dicom_gateway.status import DUPLICATE_SOP_INSTANCE
from pipeline import audit, fallbacks, peers, store
from pipeline.database import Connection
from pipeline.destinations import MESSAGE_KINDS, DestinationRecord, find_destination, list_destinations
from pipeline.errors import StudyFailed
from pipeline.retry import back_off_s
from pipeline.services import Outcome
from pipeline.status import StudyStatus
from pipeline.store import Row, StudyRecord

# A destination that looked at an instance and said no is asked this often in all: archives refuse in haste too.
REFUSALS_MAX = 3
GAVE_UP, REFUSED, NO_DESTINATION = "DELIVERY_GAVE_UP", "DELIVERY_REFUSED", "NO_DESTINATION"
FAILURES = frozenset({GAVE_UP, REFUSED, NO_DESTINATION})
"""Reason codes of studies that have a result which did not get where it must; a person can send it again."""


def plan(conn: Connection, study: StudyRecord) -> list[str]:
    """Make the rows of the study's present revision, each once; returns the names of its destinations.

    What of earlier revisions has not got anywhere is not sent any more: the new result takes its place.
    Raises `StudyFailed` when nobody would have to take the result of some model: that would look like delivered.
    """
    named = names_by_product(conn, study, study.to_run)
    # Those that take results as messages hear of every one, so that no rule can forget them.
    hearing = {
        one.name: one
        for one in list_destinations(conn, study.tenant)
        if one.enabled and one.kind in ("fhir", "hl7")
    }
    targets = {
        name: find_destination(conn, study.tenant, name)
        for name in dict.fromkeys(name for names in named.values() for name in names)
    } | hearing
    conn.execute(
        """DELETE FROM delivery d USING result_object o
           WHERE o.tenant = d.tenant AND o.sop_instance_uid = d.sop_instance_uid AND d.tenant = %s AND d.study_id = %s
             AND o.revision < %s AND o.kind <> 'EVENT' AND d.acknowledged_at IS NULL""",
        (study.tenant, study.id, study.revision),
    )
    answered_for: set[str] = set()
    for one in _objects(conn, study):
        for name in dict.fromkeys((*named.get(one["product"], ()), *hearing)):
            target = targets.get(name)
            if target.wants(one["kind"]) if target is not None else one["kind"] not in MESSAGE_KINDS.values():
                # An archive that takes no rejection notes has the result all the same.
                required = (target is None or target.required) and one["kind"] != "KOS"
                answered_for |= {one["product"]} if required else set()
                conn.execute(
                    """INSERT INTO delivery (tenant, sop_instance_uid, destination, study_id, required)
                       VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING""",
                    (study.tenant, one["sop_instance_uid"], name, study.id, required),
                )
    for product, names in named.items():
        if product not in answered_for:
            raise StudyFailed(
                NO_DESTINATION,
                f"No required destination takes any object of {product}: look at {', '.join(names)}.",
            )
    return list(targets)


def kinds_taken(conn: Connection, study: StudyRecord) -> frozenset[str]:
    """The kinds of objects that any destination of the study takes, and those that may have to stand in for them."""
    names = {name for several in names_by_product(conn, study, study.to_run).values() for name in several}
    found = [find_destination(conn, study.tenant, name) for name in names]
    return frozenset(kind for one in found if one is not None for kind in (*one.object_kinds, *one.stand_ins))


def names_by_product(conn: Connection, study: StudyRecord, choices: Iterable[Row]) -> dict[str, list[str]]:
    """What the route says, else where the sender's results go, else the sender. What runs in shadow goes nowhere."""
    peer = peers.get_peer(conn, study.tenant, study.ae_title)
    default = [(peer and peer["result_destination"]) or study.ae_title]
    return {
        choice["product"]: choice.get("destinations") or default
        for choice in choices
        if not choice.get("shadow")
    }


def _objects(conn: Connection, study: StudyRecord) -> list[Row]:
    return conn.execute(
        """SELECT sop_instance_uid, product, kind FROM result_object
           WHERE tenant = %s AND study_id = %s AND revision = %s AND kind <> 'EVENT' AND event = 'result'
           ORDER BY product, kind = 'KOS', kind DESC""",
        (study.tenant, study.id, study.revision),
    ).fetchall()


@dataclass(frozen=True)
class Waiting:
    """What waits for one destination: rows that are due, and when the next of the others will be."""

    due: list[Row]
    next_in_s: float | None


def waiting(conn: Connection, study: StudyRecord, destination: str) -> Waiting:
    rows = conn.execute(
        """SELECT d.sop_instance_uid, d.attempts, d.last_error, d.waiting_since, o.kind, o.location, o.product,
                  o.revision, o.review, o.event, o.sha256,
                  extract(epoch FROM d.next_at - clock_timestamp())::float AS due_in_s,
                  extract(epoch FROM clock_timestamp() - d.waiting_since)::float AS waited_s
           FROM delivery d JOIN result_object o USING (tenant, sop_instance_uid)
           WHERE d.tenant = %s AND d.study_id = %s AND d.destination = %s AND d.state = 'waiting'
           ORDER BY o.product, o.kind = 'KOS', o.kind DESC""",
        (study.tenant, study.id, destination),
    ).fetchall()
    later = [row["due_in_s"] for row in rows if row["due_in_s"] > 0]
    return Waiting([row for row in rows if row["due_in_s"] <= 0], min(later) if later else None)


def record_outcome(
    conn: Connection, study: StudyRecord, target: DestinationRecord, row: Row, outcome: DeliveryOutcome
) -> str:
    """Write down what became of one object at one destination; returns its state."""
    # Its UID is derived and keyed, so what is there under it can only be this result, sent before: the answer to an
    # earlier attempt was lost, or a backup was restored and its lost hours were done again.
    is_there_already = outcome.status == DUPLICATE_SOP_INSTANCE
    is_stored = outcome.acknowledged or is_there_already
    if is_stored:
        state, delay_s = "acknowledged", 0.0
    else:
        state, delay_s = _after_failure(target, row, outcome)
    warning = "the destination had it already (0111H)" if is_there_already else outcome.warning
    conn.execute(
        """UPDATE delivery SET state = %s, attempts = attempts + 1, dicom_status = %s, last_error = %s, warning = %s,
               next_at = clock_timestamp() + make_interval(secs => %s),
               acknowledged_at = CASE WHEN %s THEN clock_timestamp() END
           WHERE tenant = %s AND sop_instance_uid = %s AND destination = %s AND state = 'waiting'""",
        (
            state, outcome.status, None if is_stored else outcome.error, warning, delay_s, is_stored,
            study.tenant, row["sop_instance_uid"], target.name,
        ),
    )  # fmt: skip
    detail = {"destination": target.name, "kind": row["kind"], "error": outcome.error}
    if state in ("refused", "dead"):
        store.note(conn, study, "delivery_given_up", detail=detail | {"state": state})
    elif state == "waiting" and outcome.error != row["last_error"]:
        store.note(conn, study, "delivery_incomplete", detail=detail)
    if state != "waiting":
        fallbacks.settle(conn, study, target, row)
    return state


def _after_failure(target: DestinationRecord, row: Row, outcome: DeliveryOutcome) -> tuple[str, float]:
    attempts = row["attempts"] + 1
    if outcome.is_refusal and attempts >= REFUSALS_MAX:
        return "refused", 0.0
    if attempts >= target.attempts_max or row["waited_s"] >= target.give_up_after_s:
        return "dead", 0.0
    delay_s = back_off_s(row["attempts"], target.back_off_min_s, target.back_off_max_s)
    # Spread, so that all that waits for a destination does not come at once when it is back.
    delay_s *= random.uniform(0.75, 1.25)  # noqa: S311
    return "waiting", max(delay_s, min(outcome.retry_after_s or 0.0, target.back_off_max_s))


def verdict(conn: Connection, study: StudyRecord) -> Outcome | None:
    """How the delivery of a locked study's present revision has ended; None while something required waits."""
    rows = conn.execute(
        """SELECT d.destination, d.state, d.attempts, d.last_error, o.kind
           FROM delivery d JOIN result_object o USING (tenant, sop_instance_uid)
           WHERE d.tenant = %s AND d.study_id = %s AND o.revision = %s AND d.required
           ORDER BY d.destination, o.kind DESC""",
        (study.tenant, study.id, study.revision),
    ).fetchall()
    if not rows or any(row["state"] == "waiting" for row in rows):
        return None
    given_up = [row for row in rows if row["state"] in ("refused", "dead")]
    if given_up:
        return Outcome(gives=StudyStatus.FAILED, reason=_reason(given_up))
    names = list(dict.fromkeys(row["destination"] for row in rows))
    return Outcome(detail={"destinations": names, "objects": len({row["kind"] for row in rows})})


def _reason(rows: list[Row]) -> tuple[str, str]:
    first, kinds = rows[0], ", ".join(dict.fromkeys(row["kind"] for row in rows))
    if any(row["state"] == "refused" for row in rows):
        first = next(row for row in rows if row["state"] == "refused")
        return (
            REFUSED,
            f"Delivery failed: {first['destination']} does not take {kinds}: {first['last_error']}.",
        )
    words = f"Delivery failed: {first['destination']} did not take {kinds} in {first['attempts']} attempts"
    return GAVE_UP, f"{words}: {first['last_error']}."


def send_again(conn: Connection, study: StudyRecord, destination: str | None = None) -> list[str]:
    """Let what was given up of a locked study wait once more; returns the destinations."""
    rows = conn.execute(
        """UPDATE delivery SET state = 'waiting', replaced_by = NULL, attempts = 0, next_at = clock_timestamp(),
               waiting_since = clock_timestamp()
           WHERE tenant = %s AND study_id = %s AND state IN ('refused', 'dead', 'replaced')
             AND (%s::text IS NULL OR destination = %s)
           RETURNING destination""",
        (study.tenant, study.id, destination, destination),
    ).fetchall()
    names = list(dict.fromkeys(row["destination"] for row in rows))
    if names:
        store.note(conn, study, "delivery_asked_again", detail={"destinations": names})
    return names


def given_up(conn: Connection, tenant: str, limit: int = 100) -> list[Row]:
    """What needs a person, newest first."""
    return conn.execute(
        """SELECT d.study_id, d.destination, d.required, d.state, d.attempts, d.dicom_status, d.last_error, o.kind,
                  s.updated_at
           FROM delivery d JOIN result_object o USING (tenant, sop_instance_uid) JOIN study s ON s.id = d.study_id
           WHERE d.tenant = %s AND d.state IN ('refused', 'dead')
           ORDER BY s.updated_at DESC, d.destination, o.kind DESC LIMIT %s""",
        (tenant, limit),
    ).fetchall()


def hold_slot(conn: Connection, target: DestinationRecord, study_id: UUID) -> bool | None:
    """Take one of the destination's associations until this transaction ends, over all workers.

    False when all are in use; None when another worker is sending this study's objects there.
    """
    if not _try_lock(conn, f"delivery:{target.tenant}:{target.name}:{study_id}"):
        return None
    return any(
        _try_lock(conn, f"destination:{target.tenant}:{target.name}:{number}")
        for number in range(target.associations_max)
    )


def _try_lock(conn: Connection, name: str) -> bool:
    row = conn.execute(
        "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0)) AS held", (name,)
    ).fetchone()
    return row is not None and bool(row["held"])


def waiting_studies(conn: Connection, target: DestinationRecord) -> int:
    """How many studies wait for the destination."""
    row = conn.execute(
        """SELECT count(DISTINCT study_id) AS n FROM delivery
           WHERE tenant = %s AND destination = %s AND state = 'waiting'""",
        (target.tenant, target.name),
    ).fetchone()
    return int(row["n"]) if row else 0


def confirmable(conn: Connection, tenant: str, study_id: UUID, destination: str) -> list[Row]:
    """What the destination has acknowledged and not yet confirmed."""
    return conn.execute(
        """SELECT d.sop_instance_uid, o.location, d.acknowledged_at
           FROM delivery d JOIN result_object o USING (tenant, sop_instance_uid)
           WHERE d.tenant = %s AND d.study_id = %s AND d.destination = %s AND d.state = 'acknowledged'
           ORDER BY o.kind DESC""",
        (tenant, study_id, destination),
    ).fetchall()


def confirm(conn: Connection, tenant: str, destination: str, sop_instance_uids: list[str], by: str) -> int:
    """The destination has said for itself that it keeps these; returns how many are newly confirmed."""
    return conn.execute(
        """UPDATE delivery SET state = 'confirmed', confirmed_at = clock_timestamp(), confirmed_by = %s
           WHERE tenant = %s AND destination = %s AND sop_instance_uid = ANY(%s) AND state = 'acknowledged'""",
        (by, tenant, destination, sop_instance_uids),
    ).rowcount


def record_message(conn: Connection, study: StudyRecord, target: DestinationRecord) -> None:
    """The audit trail's line for a message about a patient that left after the end of its study."""
    detail = {"study": str(study.id), "destination": target.name, "instances": 1}
    audit.record(conn, study.tenant, audit.AuditEvent.INSTANCES_SENT, detail)


def record_transfer(conn: Connection, study: StudyRecord) -> None:
    """The audit trail's line for each destination that has acknowledged objects of this revision."""
    for row in conn.execute(
        """SELECT d.destination, count(*) AS objects FROM delivery d
           JOIN result_object o ON o.tenant = d.tenant AND o.sop_instance_uid = d.sop_instance_uid
           WHERE d.tenant = %s AND d.study_id = %s AND o.revision = %s AND d.acknowledged_at IS NOT NULL
           GROUP BY d.destination ORDER BY d.destination""",
        (study.tenant, study.id, study.revision),
    ).fetchall():
        detail = {
            "study": str(study.id),
            "destination": row["destination"],
            "instances": row["objects"],
        }
        audit.record(conn, study.tenant, audit.AuditEvent.INSTANCES_SENT, detail)
