"""Links to one report for people without an account: with an end, a number of views, and a PIN where one is wanted.

Only hashes of tokens are kept. A link is opened by a button, not by being fetched: mail scanners and previews that
follow links use up no view. What is opened is good for half an hour: the report, its images, its PDF.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from pipeline import audit
from pipeline.audit import AuditEvent
from pipeline.audit_access import access_detail
from pipeline.database import Connection, Database
from pipeline.store import Row
from portal import passwords
from portal.errors import LinkNotGood, PinWrong
from portal.sessions import TOKEN_BYTES, digest

DAYS_MAX = 90
OPENING_GOOD_FOR = timedelta(minutes=30)
PIN_DIGITS = 6
PIN_FAILURES_MAX = 10


@dataclass(frozen=True)
class FoundLink:
    """A link that is there; whether it is still good is seen when it is opened."""

    tenant: str
    id: UUID

    @property
    def name(self) -> str:
        """As the audit trail calls whoever uses it."""
        return f"shared link {str(self.id)[:8]}"


def make_link(
    conn: Connection,
    tenant: str,
    study_id: UUID,
    *,
    label: str,
    days: int,
    views_max: int,
    with_pin: bool,
    by: str,
) -> tuple[str, str]:
    """(token, PIN or nothing), returned this once."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    pin = "".join(secrets.choice("0123456789") for _ in range(PIN_DIGITS)) if with_pin else ""
    row = conn.execute(
        """INSERT INTO report_link (tenant, token_hash, study_id, label, created_by, expires_at, views_max, pin_hash)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING id""",
        (
            tenant, digest(token), study_id, label, by, datetime.now(UTC) + timedelta(days=days), views_max,
            passwords.hash_password(pin) if pin else None,
        ),
    ).fetchone()  # fmt: skip
    assert row is not None
    changes = {"made": True, "days": days, "views": views_max, "pin": with_pin}
    _record(conn, tenant, AuditEvent.LINK_CHANGED, by, row["id"], study_id, changes=changes)
    return token, pin


def list_links(conn: Connection, tenant: str, study_id: UUID) -> list[Row]:
    """Of one study, the newest first; never tokens or PINs."""
    return conn.execute(
        """SELECT id, label, created_by, created_at, expires_at, views, views_max, pin_hash IS NOT NULL AS has_pin,
                  revoked_at, revoked_at IS NULL AND expires_at > now() AND views < views_max AS is_good
           FROM report_link WHERE tenant = %s AND study_id = %s ORDER BY created_at DESC""",
        (tenant, study_id),
    ).fetchall()


def revoke_link(conn: Connection, tenant: str, study_id: UUID, link_id: UUID, *, by: str) -> bool:
    """At once, for whoever reads just now too; False if there is no such link."""
    revoked = conn.execute(
        """UPDATE report_link SET revoked_at = now()
           WHERE tenant = %s AND study_id = %s AND id = %s AND revoked_at IS NULL""",
        (tenant, study_id, link_id),
    ).rowcount
    if revoked:
        conn.execute("DELETE FROM report_link_opening WHERE tenant = %s AND link_id = %s", (tenant, link_id))
        _record(conn, tenant, AuditEvent.LINK_CHANGED, by, link_id, study_id, changes={"revoked": True})
    return revoked == 1


def find_link(database: Database, token: str) -> FoundLink:
    """Raises `LinkNotGood`."""
    with database.system_transaction() as conn:
        row = conn.execute("SELECT * FROM find_report_link(%s)", (digest(token),)).fetchone()
    if row is None:
        raise LinkNotGood
    return FoundLink(row["tenant"], row["id"])


def asks_for_pin(conn: Connection, link: FoundLink) -> bool:
    """Whether this good link has a PIN. Raises `LinkNotGood`."""
    return _good_row(conn, link)["pin_hash"] is not None


def open_link(conn: Connection, link: FoundLink, pin: str, *, host: str) -> str:
    """Use up one view; the token of the opening, returned this once. Raises `LinkNotGood`, `PinWrong`.

    A wrong PIN is counted in the database, whoever types it and wherever; with too many the link is over. The caller
    commits in both cases.
    """
    row = _good_row(conn, link)
    if row["pin_hash"] is not None and not passwords.matches(row["pin_hash"], pin.strip()):
        over = row["pin_failures"] + 1 >= PIN_FAILURES_MAX
        conn.execute(
            """UPDATE report_link SET pin_failures = pin_failures + 1,
                      revoked_at = CASE WHEN %s THEN now() ELSE revoked_at END WHERE tenant = %s AND id = %s""",
            (over, link.tenant, link.id),
        )
        reason = "wrong PIN, the link is over" if over else "wrong PIN"
        _record(
            conn,
            link.tenant,
            AuditEvent.LINK_REFUSED,
            link.name,
            link.id,
            row["study_id"],
            host,
            reason=reason,
        )
        raise PinWrong
    opening = secrets.token_urlsafe(TOKEN_BYTES)
    conn.execute(
        "UPDATE report_link SET views = views + 1 WHERE tenant = %s AND id = %s", (link.tenant, link.id)
    )
    conn.execute("DELETE FROM report_link_opening WHERE tenant = %s AND expires_at <= now()", (link.tenant,))
    conn.execute(
        "INSERT INTO report_link_opening (tenant, token_hash, link_id, expires_at) VALUES (%s, %s, %s, %s)",
        (link.tenant, digest(opening), link.id, datetime.now(UTC) + OPENING_GOOD_FOR),
    )
    _record(conn, link.tenant, AuditEvent.STUDY_VIEWED, link.name, link.id, row["study_id"], host)
    return opening


def opened_study(conn: Connection, link: FoundLink, opening: str) -> UUID:
    """The study of a link that this browser has opened. Raises `LinkNotGood`."""
    row = conn.execute(
        """SELECT l.study_id FROM report_link_opening o JOIN report_link l ON l.tenant = o.tenant AND l.id = o.link_id
           WHERE o.tenant = %s AND o.token_hash = %s AND o.link_id = %s AND o.expires_at > now()
             AND l.revoked_at IS NULL AND l.expires_at > now()""",
        (link.tenant, digest(opening), link.id),
    ).fetchone()
    if row is None:
        raise LinkNotGood
    study_id = row["study_id"]
    assert isinstance(study_id, UUID)
    return study_id


def record_export(conn: Connection, link: FoundLink, study_id: UUID, *, host: str) -> None:
    """The PDF was taken along."""
    _record(conn, link.tenant, AuditEvent.REPORT_EXPORTED, link.name, link.id, study_id, host)


def _good_row(conn: Connection, link: FoundLink) -> Row:
    row = conn.execute(
        """SELECT study_id, pin_hash, pin_failures FROM report_link
           WHERE tenant = %s AND id = %s AND revoked_at IS NULL AND expires_at > now() AND views < views_max
           FOR UPDATE""",
        (link.tenant, link.id),
    ).fetchone()
    if row is None:
        raise LinkNotGood
    return row


def _record(
    conn: Connection,
    tenant: str,
    event: AuditEvent,
    user: str,
    link_id: UUID,
    study_id: UUID,
    host: str = "",
    **detail: object,
) -> None:
    found = access_detail(user, study_id, host=host, link=str(link_id)[:8], **detail)
    audit.record(conn, tenant, event, found)
