"""People as an admin sees and changes them; whoever changes is named in the audit trail."""

from __future__ import annotations

from pipeline import audit
from pipeline.audit import AuditEvent
from pipeline.database import Connection
from pipeline.store import Row
from portal.auth import require_party
from portal.context import Role
from portal.errors import InvalidInput, LastAdmin, PageNotFound
from portal.sessions import end_sessions
from portal.text import LANGUAGES


def list_users(conn: Connection, tenant: str) -> list[Row]:
    """Everybody of the tenant, by name; never a hash or a secret."""
    return conn.execute(
        """SELECT u.name, u.role, u.party_id, u.language, u.created_at, u.disabled_at, u.must_change_password,
                  u.totp_secret IS NOT NULL AS has_second_factor, u.openid_subject IS NOT NULL AS by_openid,
                  count(s.id) AS sessions, max(s.last_used_at) AS last_used_at
           FROM portal_user u LEFT JOIN portal_session s
             ON s.tenant = u.tenant AND s.user_name = u.name AND s.expires_at > now()
           WHERE u.tenant = %s GROUP BY u.tenant, u.name ORDER BY u.name""",
        (tenant,),
    ).fetchall()


def require_user(conn: Connection, tenant: str, name: str) -> Row:
    """Raises `PageNotFound`."""
    row = conn.execute(
        "SELECT name, role, party_id, disabled_at FROM portal_user WHERE tenant = %s AND name = %s FOR UPDATE",
        (tenant, name),
    ).fetchone()
    if row is None:
        raise PageNotFound
    return row


def set_role(
    conn: Connection, tenant: str, name: str, role: Role, party_id: str | None = None, *, by: str
) -> None:
    """Another role; the sessions of the old one end. Raises `LastAdmin`, `PartyNeeded`, `PartyUnknown`."""
    row = require_user(conn, tenant, name)
    party_id = party_id or row["party_id"]
    require_party(conn, tenant, role, party_id)
    if role is not Role.ADMIN:
        _require_another_admin(conn, tenant, name)
    conn.execute(
        "UPDATE portal_user SET role = %s, party_id = %s WHERE tenant = %s AND name = %s",
        (role.value, party_id, tenant, name),
    )
    _changed(conn, tenant, name, by, role=role.value)
    end_sessions(conn, tenant, name, by=by, is_recorded=False)


def set_enabled(conn: Connection, tenant: str, name: str, *, enabled: bool, by: str) -> None:
    """Whether the person may sign in; who is disabled is out at once. Raises `LastAdmin`."""
    require_user(conn, tenant, name)
    if not enabled:
        _require_another_admin(conn, tenant, name)
    conn.execute(
        "UPDATE portal_user SET disabled_at = CASE WHEN %s THEN NULL ELSE now() END WHERE tenant = %s AND name = %s",
        (enabled, tenant, name),
    )
    _changed(conn, tenant, name, by, enabled=enabled)
    end_sessions(conn, tenant, name, by=by, is_recorded=False)


def set_language(conn: Connection, tenant: str, name: str, language: str, *, by: str) -> None:
    """Empty: the tenant's. Raises `InvalidInput`."""
    if language and language not in LANGUAGES:
        raise InvalidInput
    require_user(conn, tenant, name)
    conn.execute(
        "UPDATE portal_user SET language = %s WHERE tenant = %s AND name = %s",
        (language or None, tenant, name),
    )
    _changed(conn, tenant, name, by, language=language or "as the tenant")


def set_policy(conn: Connection, tenant: str, roles: list[Role], *, by: str) -> None:
    """Roles whose people sign in with a second factor or not at all."""
    names = sorted(role.value for role in roles)
    conn.execute("UPDATE tenant SET second_factor_roles = %s WHERE tenant = %s", (names, tenant))
    detail = {"by": by, "changes": {"second_factor_roles": names}}
    audit.record(conn, tenant, AuditEvent.USER_CHANGED, detail)


def _require_another_admin(conn: Connection, tenant: str, name: str) -> None:
    """The rows are locked, so that two admins do not disable each other at once."""
    admins = conn.execute(
        "SELECT name FROM portal_user WHERE tenant = %s AND role = 'admin' AND disabled_at IS NULL FOR UPDATE",
        (tenant,),
    ).fetchall()
    if [row["name"] for row in admins] == [name]:
        raise LastAdmin


def _changed(conn: Connection, tenant: str, name: str, by: str, **changes: object) -> None:
    audit.record(conn, tenant, AuditEvent.USER_CHANGED, {"user": name, "by": by, "changes": changes})
