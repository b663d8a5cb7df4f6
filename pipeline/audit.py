"""The audit trail: what concerns security, in the words of PS3.15 annex A.5, appended and chained by hash.

No patient data: AE titles, hosts, names of users of the portal, our own ids.
"""

from __future__ import annotations

import contextlib
import enum
import hashlib
import json
import logging
from collections.abc import Iterator
from datetime import UTC
from typing import Any

import psycopg
import psycopg_pool

from pipeline.database import Connection, Database

log = logging.getLogger("radmeter.audit")

GENESIS = bytes(32)
_BATCH = 1000

SUCCESS, MINOR_FAILURE, SERIOUS_FAILURE = 0, 4, 8
"""Event Outcome Indicator (PS3.15 table A.5.2-1)."""


class AuditEvent(enum.Enum):
    """What happened: our name, the event of PS3.15 annex A.5.3, the outcome."""

    ASSOCIATION_REJECTED = ("association_rejected", "Security Alert", SERIOUS_FAILURE)
    TLS_FAILED = ("tls_failed", "Security Alert", SERIOUS_FAILURE)
    INSTANCE_REFUSED = ("instance_refused", "Security Alert", MINOR_FAILURE)
    INSTANCE_DIFFERS = ("instance_differs", "Security Alert", SERIOUS_FAILURE)
    PEER_ADDED = ("peer_added", "Security Alert", SUCCESS)
    PEER_CHANGED = ("peer_changed", "Security Alert", SUCCESS)
    PEER_REMOVED = ("peer_removed", "Security Alert", SUCCESS)
    DESTINATION_CHANGED = ("destination_changed", "Security Alert", SUCCESS)
    DESTINATION_REMOVED = ("destination_removed", "Security Alert", SUCCESS)
    MODEL_CHANGED = ("model_changed", "Security Alert", SUCCESS)
    SIGNED_IN = ("signed_in", "User Authentication", SUCCESS)
    SIGN_IN_FAILED = ("sign_in_failed", "User Authentication", MINOR_FAILURE)
    LIMIT_REACHED = ("limit_reached", "Security Alert", MINOR_FAILURE)
    CALLS_REFUSED = ("calls_refused", "Security Alert", MINOR_FAILURE)
    MODEL_ALARM = ("model_alarm", "Security Alert", MINOR_FAILURE)
    MODEL_PAUSED = ("model_paused", "Security Alert", SERIOUS_FAILURE)
    MODEL_RULE_CHANGED = ("model_rule_changed", "Security Alert", SUCCESS)
    MODEL_RESUMED = ("model_resumed", "Security Alert", SUCCESS)
    INSTANCES_RECEIVED = ("instances_received", "DICOM Instances Transferred", SUCCESS)
    INSTANCES_SENT = ("instances_sent", "DICOM Instances Transferred", SUCCESS)
    SIGNED_OUT = ("signed_out", "User Authentication", SUCCESS)
    USER_CHANGED = ("user_changed", "Security Alert", SUCCESS)
    KEY_CHANGED = ("key_changed", "Security Alert", SUCCESS)
    LINK_CHANGED = ("link_changed", "Security Alert", SUCCESS)
    LINK_REFUSED = ("link_refused", "Security Alert", MINOR_FAILURE)
    STUDIES_QUERIED = ("studies_queried", "Query", SUCCESS)
    STUDY_VIEWED = ("study_viewed", "Patient Record", SUCCESS)
    STUDY_CHANGED = ("study_changed", "Procedure Record", SUCCESS)
    IMAGES_VIEWED = ("images_viewed", "DICOM Instances Accessed", SUCCESS)
    REPORT_EXPORTED = ("report_exported", "Export", SUCCESS)
    STUDIES_IMPORTED = ("studies_imported", "Import", SUCCESS)
    AUDIT_VIEWED = ("audit_viewed", "Audit Log Used", SUCCESS)
    FUNCTION_USED = ("function_used", "Security Alert", SUCCESS)
    VERDICT_GIVEN = ("verdict_given", "Procedure Record", SUCCESS)
    VERDICTS_EXPORTED = ("verdicts_exported", "Export", SUCCESS)
    REVIEW_FINISHED = ("review_finished", "Procedure Record", SUCCESS)
    RETENTION_CHANGED = ("retention_changed", "Security Alert", SUCCESS)
    HOLD_PLACED = ("hold_placed", "Security Alert", SUCCESS)
    HOLD_RELEASED = ("hold_released", "Security Alert", SUCCESS)
    OBJECTS_REMOVED = ("objects_removed", "Procedure Record", SUCCESS)
    OBJECT_ROTTEN = ("object_rotten", "Security Alert", SERIOUS_FAILURE)
    BACKUP_RESTORED = ("backup_restored", "Security Alert", SUCCESS)
    STUDY_ERASED = ("study_erased", "Procedure Record", SUCCESS)
    TENANT_ERASED = ("tenant_erased", "Security Alert", SUCCESS)
    TENANT_EXPORTED = ("tenant_exported", "Export", SUCCESS)
    APPLICATION_STARTED = ("application_started", "Application Activity", SUCCESS)
    APPLICATION_STOPPED = ("application_stopped", "Application Activity", SUCCESS)

    def __init__(self, action: str, event: str, outcome: int) -> None:
        self.action = action
        self.event = event
        self.outcome = outcome


def record(conn: Connection, tenant: str | None, event: AuditEvent, detail: dict[str, Any]) -> None:
    """Append an event, in the caller's transaction and best at its end: the chain is locked until it commits.

    tenant: None when it is not known; in an installation with one tenant it is that one's.
    """
    conn.execute(
        "SELECT append_audit_event(%s, %s, %s, %s, %s)",
        (tenant, event.event, event.action, event.outcome, detail_text(detail)),
    )


def detail_text(detail: dict[str, Any]) -> str:
    """The text that is hashed: without what is empty, in the order of the names; what no text of PostgreSQL can hold
    (NUL, half a surrogate pair) is replaced."""
    kept = {key: value for key, value in detail.items() if value not in ("", None)}
    text = json.dumps(kept, sort_keys=True)
    if "\\u0000" in text or "\\ud" in text:
        text = json.dumps(kept, sort_keys=True, ensure_ascii=False).replace("\\u0000", "\ufffd")
        text = text.encode("utf-8", "replace").decode()
    return text


def record_now(database: Database, tenant: str | None, event: AuditEvent, detail: dict[str, Any]) -> None:
    """Append an event in a transaction of its own; a database that does not answer costs the event, not the work."""
    try:
        with database.system_transaction() as conn:
            record(conn, tenant, event, detail)
    except (psycopg.Error, psycopg_pool.PoolTimeout, psycopg_pool.PoolClosed) as error:
        log.error("audit_event_not_recorded", extra={"error": type(error).__name__, "action": event.action})


@contextlib.contextmanager
def application_activity(database: Database, role: str) -> Iterator[None]:
    """Note that a process of this role starts, and that it stops."""
    record_now(database, None, AuditEvent.APPLICATION_STARTED, {"role": role})
    try:
        yield
    finally:
        record_now(database, None, AuditEvent.APPLICATION_STOPPED, {"role": role})


def recent(
    conn: Connection, tenant: str, *, limit: int = 100, before: int | None = None, action: str | None = None
) -> list[dict[str, Any]]:
    """The tenant's events, newest first. before: a sequence number."""
    return conn.execute(
        """SELECT sequence, at, event, action, outcome, detail FROM audit_event
           WHERE tenant = %(tenant)s AND (%(before)s::bigint IS NULL OR sequence < %(before)s)
             AND (%(action)s::text IS NULL OR action = %(action)s)
           ORDER BY sequence DESC LIMIT %(limit)s""",
        {"tenant": tenant, "before": before, "action": action, "limit": limit},
    ).fetchall()


def every(conn: Connection) -> Iterator[dict[str, Any]]:
    """All events of all tenants, oldest first. For a connection of the schema's owner."""
    after = 0
    while rows := conn.execute(
        """SELECT sequence, tenant, at, event, action, outcome, detail::text AS detail, previous_hash, hash
           FROM audit_event WHERE sequence > %s ORDER BY sequence LIMIT %s""",
        (after, _BATCH),
    ).fetchall():
        yield from rows
        after = rows[-1]["sequence"]


def head(conn: Connection) -> str:
    """The end of the chain as `sequence:hash`. Kept elsewhere, it proves later that nothing before it was changed."""
    row = conn.execute("SELECT sequence, hash FROM audit_head").fetchone()
    assert row is not None
    return f"{row['sequence']}:{bytes(row['hash']).hex()}"


def find_problems(conn: Connection, known_heads: tuple[str, ...] = ()) -> list[str]:
    """One sentence for each break of the chain; empty when the trail is whole. For the schema's owner.

    known_heads: what `head` gave earlier.
    """
    problems: list[str] = []
    expected, previous = 1, GENESIS
    to_meet = set(known_heads) | {head(conn)}
    for row in every(conn):
        name = f"audit event {row['sequence']}"
        if row["sequence"] != expected:
            problems.append(f"{name} follows {expected - 1}: events are missing")
        if bytes(row["previous_hash"]) != previous:
            problems.append(f"{name} does not continue the chain")
        if hash_of(row) != bytes(row["hash"]):
            problems.append(f"{name}: its hash does not fit what it says")
        expected, previous = row["sequence"] + 1, bytes(row["hash"])
        to_meet.discard(f"{row['sequence']}:{previous.hex()}")
    to_meet.discard(f"0:{GENESIS.hex()}")
    problems += [f"the chain does not contain the head {one}" for one in sorted(to_meet)]
    return problems


def hash_of(row: dict[str, Any]) -> bytes:
    """What the hash of a row must be; the database computes the same when it appends."""
    parts = (
        row["sequence"],
        row["tenant"] or "",
        row["at"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        row["event"],
        row["action"],
        row["outcome"],
        row["detail"],
        bytes(row["previous_hash"]).hex(),
    )
    return hashlib.sha256("\n".join(map(str, parts)).encode()).digest()
