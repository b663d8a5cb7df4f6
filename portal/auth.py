"""Passwords, sessions and API keys. Only hashes are stored."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from billing import store as billing_store
from dicom_gateway.peers import Peer
from pipeline import audit, store
from pipeline.audit import AuditEvent
from pipeline.database import Connection, Database
from pipeline.own_peer import enabled_peer
from pipeline.store import Row
from portal.context import OUTSIDERS, Identity, Role
from portal.errors import (
    KeyOnlyRecordsUsage,
    KeyOnlyStores,
    KeyStoresNothing,
    NotSignedIn,
    PartyNeeded,
    PartyUnknown,
    PasswordTooShort,
    PeerSwitchedOff,
    TooManyAttempts,
    UserExists,
    WrongNameOrPassword,
)
from portal.rate_limit import FailureLimit

TOKEN_BYTES = 32  # 256 bits: as a uniformly random secret, one round of SHA-256 is enough to store it
PASSWORD_LENGTH_MIN = 12
PASSWORD_LENGTH_MAX = 1024
API_KEY_PREFIX_LENGTH = 8

_hasher = PasswordHasher()  # RFC 9106 low-memory profile: 64 MiB for each check
_UNKNOWN_USER_HASH = _hasher.hash(secrets.token_urlsafe(TOKEN_BYTES))
_hashing = threading.BoundedSemaphore(2)  # a flood of sign-ins costs 128 MiB, not 64 MiB each


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _password_matches(password_hash: str, password: str) -> bool:
    with _hashing:
        try:
            return _hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False


class SignIn:
    """Checks names and passwords, and slows down whoever guesses.

    The pair of user and address locks first, so that a stranger cannot lock a user out from elsewhere at
    once; the wider limits stop guessing spread over names or over addresses.
    """

    WINDOW_S = 900.0

    def __init__(self, database: Database, session_hours: float) -> None:
        self._database = database
        self._session_hours = session_hours
        self._limits = (
            FailureLimit(5, self.WINDOW_S),
            FailureLimit(50, self.WINDOW_S),
            FailureLimit(30, self.WINDOW_S),
        )

    def sign_in(self, user_name: str, password: str, address: str) -> str:
        """Open a session and return its token. Raises `WrongNameOrPassword` or `TooManyAttempts`."""
        keys = (f"{address} {user_name}", f"user {user_name}", f"address {address}")
        wait_s = max(limit.wait_s(key) for limit, key in zip(self._limits, keys, strict=True))
        if wait_s:
            raise TooManyAttempts(wait_s)
        with self._database.system_transaction() as conn:
            user = conn.execute("SELECT * FROM find_portal_user(%s)", (user_name,)).fetchone()
        # An unknown name costs the same time as a wrong password.
        password_hash = user["password_hash"] if user else _UNKNOWN_USER_HASH
        is_right = len(password) <= PASSWORD_LENGTH_MAX and _password_matches(password_hash, password)
        if user is None or not is_right:
            for limit, key in zip(self._limits, keys, strict=True):
                limit.failed(key)
            # What was typed as a name that nobody has may be a password: it is not kept.
            known = {"user": user["name"]} if user else {}
            audit.record_now(
                self._database,
                user["tenant"] if user else None,
                AuditEvent.SIGN_IN_FAILED,
                {**known, "host": address},
            )
            raise WrongNameOrPassword
        self._limits[0].succeeded(keys[0])
        return self._open_session(user["tenant"], user["name"], address)

    def _open_session(self, tenant: str, user_name: str, address: str) -> str:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        with self._database.transaction(tenant) as conn:
            conn.execute("DELETE FROM portal_session WHERE tenant = %s AND expires_at <= now()", (tenant,))
            conn.execute(
                """INSERT INTO portal_session (tenant, token_hash, user_name, expires_at)
                   VALUES (%s, %s, %s, %s)""",
                (tenant, _digest(token), user_name, datetime.now(UTC) + timedelta(hours=self._session_hours)),
            )
            audit.record(conn, tenant, AuditEvent.SIGNED_IN, {"user": user_name, "host": address})
        return token


def sign_out(database: Database, token: str) -> None:
    """End the session of this token, if there is one."""
    with database.system_transaction() as conn:
        session = conn.execute("SELECT tenant FROM find_portal_session(%s)", (_digest(token),)).fetchone()
    if session is not None:
        with database.transaction(session["tenant"]) as conn:
            conn.execute(
                "DELETE FROM portal_session WHERE tenant = %s AND token_hash = %s",
                (session["tenant"], _digest(token)),
            )


def identify_session(database: Database, token: str) -> Identity:
    """Who holds this session token. Raises `NotSignedIn`."""
    with database.system_transaction() as conn:
        session = conn.execute("SELECT * FROM find_portal_session(%s)", (_digest(token),)).fetchone()
    if session is None:
        raise NotSignedIn
    return _identity(database, session["tenant"], session["user_name"], Role(session["role"]))


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
    row = _find_api_key(database, key)
    return ApiKey(**{field.name: row[field.name] for field in fields(ApiKey)})


def reader_identity(database: Database, key: ApiKey) -> Identity:
    """Which tenant this API key reads. Raises `KeyOnlyStores`, `KeyOnlyRecordsUsage`."""
    if key.ae_title is not None:
        raise KeyOnlyStores
    if key.usage_source is not None:
        raise KeyOnlyRecordsUsage
    return _identity(database, key.tenant, f"API key {key.label}", None)


def identify_storing_key(database: Database, key: str) -> Peer:
    """As which peer this API key stores. Raises `NotSignedIn`, `KeyStoresNothing`, `PeerSwitchedOff`."""
    row = _find_api_key(database, key)
    if row["ae_title"] is None:
        raise KeyStoresNothing
    with database.transaction(row["tenant"]) as conn:
        peer = enabled_peer(conn, row["tenant"], row["ae_title"])
    if peer is None:
        raise PeerSwitchedOff
    return peer


def _find_api_key(database: Database, key: str) -> Row:
    marker, _, rest = key.partition("_")
    prefix, _, secret = rest.partition("_")
    if not (prefix.isascii() and prefix.isalnum()):
        raise NotSignedIn
    with database.system_transaction() as conn:
        row = conn.execute("SELECT * FROM find_api_key(%s)", (prefix,)).fetchone()
    expected = bytes(row["key_hash"]) if row else bytes(32)
    if not (hmac.compare_digest(expected, _digest(key)) and row and marker == "rm" and secret):
        raise NotSignedIn
    return row


def _identity(database: Database, tenant: str, user_name: str, role: Role | None) -> Identity:
    with database.transaction(tenant) as conn:
        row = store.get_tenant(conn, tenant)
        user = conn.execute(
            "SELECT party_id FROM portal_user WHERE tenant = %s AND name = %s", (tenant, user_name)
        ).fetchone()
    party_id = user["party_id"] if user and role else None
    return Identity(tenant, row["name"], row["language"], user_name, role, party_id)


def create_user(
    conn: Connection, tenant: str, name: str, password: str, role: Role, party_id: str | None = None
) -> None:
    """Add a user. Names are unique over all tenants.

    party_id: who the person belongs to; needed for a hospital's and a vendor's people.
    Raises `UserExists`, `PasswordTooShort`, `PartyNeeded`, `PartyUnknown`.
    """
    if not PASSWORD_LENGTH_MIN <= len(password) <= PASSWORD_LENGTH_MAX:
        raise PasswordTooShort
    if party_id is None and role in OUTSIDERS:
        raise PartyNeeded
    if party_id is not None and not billing_store.party_exists(conn, tenant, party_id):
        raise PartyUnknown
    if _insert_user(conn, tenant, name, password, role, party_id) is None:
        raise UserExists


def set_password(conn: Connection, tenant: str, name: str, password: str) -> bool:
    """Give a user a new password and end all of the user's sessions; False if there is no such user."""
    if not PASSWORD_LENGTH_MIN <= len(password) <= PASSWORD_LENGTH_MAX:
        raise PasswordTooShort
    changed = conn.execute(
        "UPDATE portal_user SET password_hash = %s WHERE tenant = %s AND name = %s",
        (_hasher.hash(password), tenant, name),
    )
    conn.execute("DELETE FROM portal_session WHERE tenant = %s AND user_name = %s", (tenant, name))
    return changed.rowcount == 1


def create_first_admin(conn: Connection, tenant: str, name: str = "admin") -> str | None:
    """Give a tenant without users its first one; its random password is returned this once.

    None when the tenant has users already, or when the name is taken.
    """
    has_users = conn.execute("SELECT 1 FROM portal_user WHERE tenant = %s LIMIT 1", (tenant,)).fetchone()
    if has_users is not None:
        return None
    password = secrets.token_urlsafe(15)
    return password if _insert_user(conn, tenant, name, password, Role.ADMIN) else None


def _insert_user(
    conn: Connection, tenant: str, name: str, password: str, role: Role, party_id: str | None = None
) -> dict[str, str] | None:
    return conn.execute(
        """INSERT INTO portal_user (tenant, name, password_hash, role, party_id) VALUES (%s, %s, %s, %s, %s)
           ON CONFLICT DO NOTHING RETURNING name""",
        (tenant, name, _hasher.hash(password), role.value, party_id),
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
             requests_per_minute, concurrent_max) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        (tenant, prefix, _digest(key), label, expires_at, ae_title, usage_source, *limits),
    )
    return key


def revoke_api_key(conn: Connection, tenant: str, prefix: str) -> bool:
    """From the next request on the key is refused; False if the tenant has no such key."""
    revoked = conn.execute(
        "UPDATE api_key SET revoked_at = now() WHERE tenant = %s AND prefix = %s AND revoked_at IS NULL",
        (tenant, prefix),
    )
    return revoked.rowcount == 1


def list_api_keys(conn: Connection, tenant: str) -> list[dict[str, object]]:
    """Prefix, label and times of the tenant's keys; never the keys."""
    return conn.execute(
        """SELECT prefix, label, created_at, expires_at, revoked_at FROM api_key
           WHERE tenant = %s ORDER BY created_at""",
        (tenant,),
    ).fetchall()
