"""People and API keys: made, changed, found. Of secrets only hashes are stored."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta

from billing.contracts import store as billing_store
from dicom_gateway.peers import Peer
from pipeline import audit, store
from pipeline.audit import AuditEvent
from pipeline.database import Connection, Database, become_tenant
from pipeline.own_peer import enabled_peer
from pipeline.store import Row
from portal import passwords
from portal.context import OUTSIDERS, Identity, Role
from portal.errors import (
    NotSignedIn,
    PartyNeeded,
    PartyUnknown,
    PeerSwitchedOff,
    UserExists,
    UserNameInvalid,
)
from portal.key_errors import KeyOnlyRecordsUsage, KeyOnlyStores, KeyStoresNothing
from portal.sessions import TOKEN_BYTES, digest, end_sessions

API_KEY_PREFIX_LENGTH = 8
USER_NAME_LENGTH_MAX = 100


@dataclass(frozen=True)
class ApiKey:
    """A valid key. ae_title: of the peer as which it stores. usage_source: under which it records usage.

    A key that has neither reads all of its tenant.
    """

    tenant: str
    prefix: str
    label: str
    ae_title: str | None
    usage_source: str | None
    requests_per_minute: int
    concurrent_max: int


def find_key(database: Database, key: str) -> ApiKey:
    """The key itself, whatever it may do. Raises `NotSignedIn`."""
    with database.system_transaction() as conn:
        return take_key(conn, key)


def take_key(conn: Connection, key: str) -> ApiKey:
    """The same in a system transaction, which is of the key's tenant from here on. Raises `NotSignedIn`."""
    row = _find_api_key(conn, key)
    become_tenant(conn, row["tenant"])
    _note_use(conn, row)
    return ApiKey(**{field.name: row[field.name] for field in fields(ApiKey)})


def reader_identity(database: Database, key: ApiKey) -> Identity:
    """Which tenant this API key reads. Raises `KeyOnlyStores`, `KeyOnlyRecordsUsage`."""
    if key.ae_title is not None:
        raise KeyOnlyStores
    if key.usage_source is not None:
        raise KeyOnlyRecordsUsage
    with database.transaction(key.tenant) as conn:
        tenant = store.get_tenant(conn, key.tenant)
    return Identity(key.tenant, tenant["name"], tenant["language"], f"API key {key.label}", None)


def identify_storing_key(database: Database, key: str) -> Peer:
    """As which peer this API key stores. Raises `NotSignedIn`, `KeyStoresNothing`, `PeerSwitchedOff`."""
    return storing_peer(database, find_key(database, key))


def storing_peer(database: Database, key: ApiKey) -> Peer:
    """As which peer this key stores. Raises `KeyStoresNothing`, `PeerSwitchedOff`."""
    if key.ae_title is None:
        raise KeyStoresNothing
    with database.transaction(key.tenant) as conn:
        peer = enabled_peer(conn, key.tenant, key.ae_title)
    if peer is None:
        raise PeerSwitchedOff
    return peer


def _find_api_key(conn: Connection, key: str) -> Row:
    marker, _, rest = key.partition("_")
    prefix, _, secret = rest.partition("_")
    if not (prefix.isascii() and prefix.isalnum()):
        raise NotSignedIn
    row = conn.execute("SELECT * FROM find_api_key(%s)", (prefix,)).fetchone()
    expected = bytes(row["key_hash"]) if row else bytes(32)
    if not (hmac.compare_digest(expected, digest(key)) and row and marker == "rm" and secret):
        raise NotSignedIn
    return row


def _note_use(conn: Connection, row: Row) -> None:
    """To the minute: a program that asks often does not write each time."""
    if row["last_used_at"] and datetime.now(UTC) - row["last_used_at"] < timedelta(minutes=1):
        return
    conn.execute(
        "UPDATE api_key SET last_used_at = now() WHERE tenant = %s AND prefix = %s",
        (row["tenant"], row["prefix"]),
    )


def create_user(
    conn: Connection,
    tenant: str,
    name: str,
    password: str,
    role: Role,
    party_id: str | None = None,
    *,
    must_change: bool = False,
    by: str = "",
) -> None:
    """Add a user. Names are unique over all tenants.

    party_id: who the person belongs to; needed for a hospital's and a vendor's people. must_change: at the first
    sign-in, because somebody else knows this password.
    Raises `UserExists`, `UserNameInvalid`, `PasswordTooShort`, `PasswordCommon`, `PartyNeeded`, `PartyUnknown`.
    """
    name = passwords.normalized(name)
    require_user_name(name)
    passwords.require_strong(password, name)
    require_party(conn, tenant, role, party_id)
    if _insert_user(conn, tenant, name, password, role, party_id, must_change=must_change) is None:
        raise UserExists
    changes = {"added": True, "role": role.value}
    audit.record(conn, tenant, AuditEvent.USER_CHANGED, {"user": name, "by": by, "changes": changes})


def require_user_name(name: str) -> None:
    """A name is shown, typed and written into the audit trail. Raises `UserNameInvalid`."""
    if not 1 <= len(name) <= USER_NAME_LENGTH_MAX or not name.isprintable() or name != name.strip():
        raise UserNameInvalid


def require_party(conn: Connection, tenant: str, role: Role, party_id: str | None) -> None:
    """Raises `PartyNeeded`, `PartyUnknown`."""
    if party_id is None and role in OUTSIDERS:
        raise PartyNeeded
    if party_id is not None and not billing_store.party_exists(conn, tenant, party_id):
        raise PartyUnknown


def set_password(
    conn: Connection, tenant: str, name: str, password: str, *, must_change: bool = False, by: str = ""
) -> bool:
    """Give a user a new password and end all of the user's sessions; False if there is no such user."""
    passwords.require_strong(password, name)
    changed = conn.execute(
        """UPDATE portal_user SET password_hash = %s, must_change_password = %s WHERE tenant = %s AND name = %s""",
        (passwords.hash_password(password), must_change, tenant, name),
    ).rowcount
    end_sessions(conn, tenant, name, by=by, is_recorded=False)
    if changed:
        audit.record(
            conn, tenant, AuditEvent.USER_CHANGED, {"user": name, "by": by, "changes": {"password": "new"}}
        )
    return changed == 1


def create_first_admin(conn: Connection, tenant: str, name: str = "admin") -> str | None:
    """Give a tenant without users its first one; its random password is returned this once and changed at sign-in.

    None when the tenant has users already, or when the name is taken.
    """
    has_users = conn.execute("SELECT 1 FROM portal_user WHERE tenant = %s LIMIT 1", (tenant,)).fetchone()
    if has_users is not None:
        return None
    password = random_password()
    made = _insert_user(conn, tenant, name, password, Role.ADMIN, must_change=True)
    return password if made else None


def random_password() -> str:
    """120 random bits."""
    return secrets.token_urlsafe(15)


def _insert_user(
    conn: Connection,
    tenant: str,
    name: str,
    password: str,
    role: Role,
    party_id: str | None = None,
    *,
    must_change: bool = False,
) -> Row | None:
    return conn.execute(
        """INSERT INTO portal_user (tenant, name, password_hash, role, party_id, must_change_password)
           VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING name""",
        (tenant, name, passwords.hash_password(password), role.value, party_id, must_change),
    ).fetchone()


def create_api_key(
    conn: Connection,
    tenant: str,
    label: str,
    expires_at: datetime | None = None,
    ae_title: str | None = None,
    *,
    usage_source: str | None = None,
    requests_per_minute: int = 600,
    concurrent_max: int = 8,
    by: str = "",
) -> str:
    """Make an API key `rm_<prefix>_<secret>`; the key is returned this once.

    ae_title: of the peer as which the key stores; such a key reads nothing. usage_source: under which the key records
    usage events (scope `usage:write`); it reads nothing but them.
    """
    prefix = secrets.token_hex(API_KEY_PREFIX_LENGTH // 2)
    key = f"rm_{prefix}_{secrets.token_urlsafe(TOKEN_BYTES)}"
    limits = (requests_per_minute, concurrent_max)
    conn.execute(
        """INSERT INTO api_key (tenant, prefix, key_hash, label, expires_at, ae_title, usage_source,
             requests_per_minute, concurrent_max, created_by) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        (tenant, prefix, digest(key), label, expires_at, ae_title, usage_source, *limits, by or None),
    )
    detail = {
        "key": prefix,
        "by": by,
        "changes": {"made": True, "peer": ae_title, "usage_source": usage_source},
    }
    audit.record(conn, tenant, AuditEvent.KEY_CHANGED, detail)
    return key


def revoke_api_key(conn: Connection, tenant: str, prefix: str, *, by: str = "") -> bool:
    """From the next request on the key is refused; False if the tenant has no such key."""
    revoked = conn.execute(
        "UPDATE api_key SET revoked_at = now() WHERE tenant = %s AND prefix = %s AND revoked_at IS NULL",
        (tenant, prefix),
    )
    if revoked.rowcount:
        detail = {"key": prefix, "by": by, "changes": {"revoked": True}}
        audit.record(conn, tenant, AuditEvent.KEY_CHANGED, detail)
    return revoked.rowcount == 1


def list_api_keys(conn: Connection, tenant: str) -> list[Row]:
    """What is known of the tenant's keys, the newest first; never the keys."""
    return conn.execute(
        """SELECT prefix, label, created_at, created_by, expires_at, revoked_at, last_used_at, ae_title, usage_source,
                  requests_per_minute, concurrent_max, expires_at <= now() AS is_expired
           FROM api_key WHERE tenant = %s ORDER BY created_at DESC""",
        (tenant,),
    ).fetchall()
