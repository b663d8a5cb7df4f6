"""Sessions of people: opened at sign-in, found by a token of which only the hash is stored, ended."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from pipeline import audit, store
from pipeline.audit import AuditEvent
from pipeline.database import Connection
from pipeline.store import Row
from portal.context import Identity, PortalContext, Role
from portal.errors import EnrolmentNeeded, NotSignedIn, PasswordChangeNeeded, SecondFactorNeeded

TOKEN_BYTES = 32  # 256 bits: as a uniformly random secret, one round of SHA-256 is enough to store it
_TOUCH_AFTER = timedelta(minutes=1)
_DEVICE_LENGTH_MAX = 200


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


@dataclass(frozen=True)
class Session:
    """Who signed in, and how far.

    by_openid: a provider vouches for the person, and its second factor is the provider's.
    """

    id: UUID
    identity: Identity
    by_openid: bool
    has_second_factor: bool
    passed_second_factor: bool
    must_change_password: bool
    must_have_second_factor: bool

    def require_second_factor(self) -> None:
        """Raises `SecondFactorNeeded`."""
        if self.has_second_factor and not self.passed_second_factor and not self.by_openid:
            raise SecondFactorNeeded

    def require_own_password(self) -> None:
        """Raises `SecondFactorNeeded`, `PasswordChangeNeeded`."""
        self.require_second_factor()
        if self.must_change_password and not self.by_openid:
            raise PasswordChangeNeeded

    def require_complete(self) -> None:
        """Raises what is still to be done: `SecondFactorNeeded`, `PasswordChangeNeeded`, `EnrolmentNeeded`."""
        self.require_own_password()
        if self.must_have_second_factor and not self.has_second_factor and not self.by_openid:
            raise EnrolmentNeeded


def open_session(
    conn: Connection,
    tenant: str,
    user_name: str,
    *,
    address: str,
    device: str,
    hours: float,
    by_openid: bool = False,
    passed_second_factor: bool = False,
) -> str:
    """A new session; its token is returned this once. What the browser held before is never taken over."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    now = datetime.now(UTC)
    conn.execute("DELETE FROM portal_session WHERE tenant = %s AND expires_at <= now()", (tenant,))
    conn.execute(
        """INSERT INTO portal_session
             (tenant, token_hash, user_name, expires_at, address, device, by_openid, second_factor_at)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s)""",
        (
            tenant, digest(token), user_name, now + timedelta(hours=hours), address,
            device[:_DEVICE_LENGTH_MAX].replace("\0", ""), by_openid, now if passed_second_factor else None,
        ),
    )  # fmt: skip
    return token


def find_session(context: PortalContext, token: str, *, is_used: bool = True) -> Session:
    """Whose token this is. Raises `NotSignedIn`.

    is_used: a person does something; a page that asks by itself does not keep a session alive.
    """
    idle = timedelta(minutes=context.session_idle_minutes)
    with context.database.system_transaction() as conn:
        row = conn.execute("SELECT * FROM find_portal_session(%s, %s)", (digest(token), idle)).fetchone()
    if row is None:
        raise NotSignedIn
    with context.database.transaction(row["tenant"]) as conn:
        if is_used and datetime.now(UTC) - row["last_used_at"] > _TOUCH_AFTER:
            conn.execute(
                "UPDATE portal_session SET last_used_at = now() WHERE tenant = %s AND id = %s",
                (row["tenant"], row["id"]),
            )
        tenant = store.get_tenant(conn, row["tenant"])
    role = Role(row["role"])
    identity = Identity(
        tenant=row["tenant"],
        tenant_name=tenant["name"],
        language=row["language"] or tenant["language"],
        user_name=row["user_name"],
        role=role,
        party_id=row["party_id"],
    )
    return Session(
        id=row["id"],
        identity=identity,
        by_openid=row["by_openid"],
        has_second_factor=row["has_second_factor"],
        passed_second_factor=row["passed_second_factor"],
        must_change_password=row["must_change_password"],
        must_have_second_factor=role.value in tenant["second_factor_roles"],
    )


def list_sessions(conn: Connection, tenant: str, user_name: str) -> list[Row]:
    """The person's sessions, latest used first; never their tokens."""
    return conn.execute(
        """SELECT id, created_at, last_used_at, expires_at, address, device, by_openid FROM portal_session
           WHERE tenant = %s AND user_name = %s AND expires_at > now() ORDER BY last_used_at DESC""",
        (tenant, user_name),
    ).fetchall()


def end_sessions(
    conn: Connection,
    tenant: str,
    user_name: str,
    *,
    by: str,
    only: UUID | None = None,
    keep: UUID | None = None,
    is_recorded: bool = True,
) -> int:
    """End the person's sessions, or `only` this one, or all but `keep`; how many there were."""
    ended = conn.execute(
        """DELETE FROM portal_session WHERE tenant = %(tenant)s AND user_name = %(user)s
             AND (%(only)s::uuid IS NULL OR id = %(only)s) AND (%(keep)s::uuid IS NULL OR id <> %(keep)s)""",
        {"tenant": tenant, "user": user_name, "only": only, "keep": keep},
    ).rowcount
    if ended and is_recorded:
        detail = {"user": user_name, "by": by, "sessions": ended}
        audit.record(conn, tenant, AuditEvent.SIGNED_OUT, detail)
    return ended


def sign_out(context: PortalContext, token: str) -> None:
    """End the session of this token, if there is one."""
    session = find_session(context, token)
    identity = session.identity
    with context.database.transaction(identity.tenant) as conn:
        end_sessions(conn, identity.tenant, identity.user_name, by=identity.user_name, only=session.id)
