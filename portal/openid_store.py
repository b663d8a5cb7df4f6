"""Providers and sign-ins by them in the database; people that a provider vouches for."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline import audit
from pipeline.audit import AuditEvent
from pipeline.database import Connection
from pipeline.store import Row
from portal import passwords
from portal.auth import USER_NAME_LENGTH_MAX, require_user_name
from portal.context import OUTSIDERS, Role
from portal.errors import OpenIdRefused, OpenIdUnavailable, PageNotFound, PortalError
from portal.openid import ALGORITHMS, Attempt, Provider, require_safe_address, role_of
from portal.sessions import digest

ATTEMPT_GOOD_FOR = timedelta(minutes=10)
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class ProviderSettings:
    """What an administrator says of a provider. Raises `OpenIdUnavailable`, whose sentence says what is wrong."""

    issuer: str
    client_id: str
    public_url: str
    label: str
    secret_file: str | None
    roles: tuple[tuple[str, str], ...]
    scopes: str = "openid profile email"
    name_claim: str = "preferred_username"
    groups_claim: str = "groups"
    algorithms: tuple[str, ...] = ("RS256", "ES256", "PS256")
    clock_skew_s: int = 60

    def __post_init__(self) -> None:
        require_safe_address(self.issuer)
        require_safe_address(self.public_url)
        problems = {
            "a mapping names a role that there is not": not {role for _, role in self.roles} <= {*Role},
            "a hospital's or a vendor's people need a party and cannot come by a provider": bool(
                {role for _, role in self.roles} & OUTSIDERS
            ),
            "no group is mapped to a role, so nobody could sign in": not self.roles,
            f"tokens are signed by one of {', '.join(ALGORITHMS)}": not set(self.algorithms)
            <= set(ALGORITHMS)
            or not self.algorithms,
            "the scopes begin with openid": "openid" not in self.scopes.split(),
            "the secret is a file in the folder of secrets, named without a path": self.secret_file
            is not None
            and _FILE_NAME.fullmatch(self.secret_file) is None,
            "a clock may be 0 to 300 seconds off": not 0 <= self.clock_skew_s <= 300,
        }
        for sentence, holds in problems.items():
            if holds:
                raise OpenIdUnavailable(sentence)


def save_provider(conn: Connection, tenant: str, settings: ProviderSettings, *, by: str) -> None:
    """For the schema's owner: whose word counts at sign-in is not changed by the portal."""
    conn.execute(
        """INSERT INTO openid_provider (tenant, issuer, client_id, secret_file, public_url, label, scopes, name_claim,
             groups_claim, roles, algorithms, clock_skew_s)
           VALUES (%(tenant)s, %(issuer)s, %(client_id)s, %(secret_file)s, %(public_url)s, %(label)s, %(scopes)s,
             %(name_claim)s, %(groups_claim)s, %(roles)s, %(algorithms)s, %(clock_skew_s)s)
           ON CONFLICT (tenant) DO UPDATE SET (issuer, client_id, secret_file, public_url, label, scopes, name_claim,
             groups_claim, roles, algorithms, clock_skew_s, enabled) =
             (excluded.issuer, excluded.client_id, excluded.secret_file, excluded.public_url, excluded.label,
              excluded.scopes, excluded.name_claim, excluded.groups_claim, excluded.roles, excluded.algorithms,
              excluded.clock_skew_s, true)""",
        vars(settings)
        | {
            "tenant": tenant,
            "roles": json.dumps(settings.roles),
            "algorithms": list(settings.algorithms),
        },
    )
    _recorded(conn, tenant, by, {"issuer": settings.issuer, "client": settings.client_id})


def switch_provider_off(conn: Connection, tenant: str, *, by: str) -> bool:
    """Nobody signs in by it any more, and who did is out; False if there is none."""
    off = conn.execute("UPDATE openid_provider SET enabled = false WHERE tenant = %s", (tenant,)).rowcount
    conn.execute("DELETE FROM portal_session WHERE tenant = %s AND by_openid", (tenant,))
    if off:
        _recorded(conn, tenant, by, {"enabled": False})
    return off == 1


def _recorded(conn: Connection, tenant: str, by: str, changes: dict[str, object]) -> None:
    audit.record(conn, tenant, AuditEvent.USER_CHANGED, {"by": by, "changes": {"openid_provider": changes}})


def find_provider(conn: Connection, secrets_directory: Path, tenant: str) -> Provider:
    """Raises `PageNotFound`, `OpenIdUnavailable`."""
    row = conn.execute("SELECT * FROM openid_provider WHERE tenant = %s AND enabled", (tenant,)).fetchone()
    if row is None:
        raise PageNotFound
    return Provider(
        tenant=tenant,
        client_secret=_secret(secrets_directory, row["secret_file"]),
        roles=tuple((group, role) for group, role in row["roles"]),
        algorithms=tuple(row["algorithms"]),
        **{
            name: row[name]
            for name in (
                "issuer", "client_id", "public_url", "label", "scopes", "name_claim", "groups_claim", "clock_skew_s",
            )
        },
    )  # fmt: skip


def _secret(secrets_directory: Path, name: str | None) -> str | None:
    if name is None:
        return None
    try:
        return (secrets_directory / name).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        raise OpenIdUnavailable(f"there is no file {name} in the folder of secrets") from None


def keep_attempt(conn: Connection, tenant: str, browser: str, attempt: Attempt, next_path: str) -> None:
    """browser: the token in its cookie, which binds the way back to the browser that went out."""
    conn.execute("DELETE FROM openid_attempt WHERE tenant = %s AND expires_at <= now()", (tenant,))
    conn.execute(
        """INSERT INTO openid_attempt (tenant, browser_hash, state, nonce, code_verifier, next, expires_at)
           VALUES (%s, %s, %s, %s, %s, %s, %s)""",
        (
            tenant, digest(browser), attempt.state, attempt.nonce, attempt.code_verifier, next_path,
            datetime.now(UTC) + ATTEMPT_GOOD_FOR,
        ),
    )  # fmt: skip


def take_attempt(conn: Connection, browser: str) -> Row | None:
    """The attempt of this browser, once; for a system transaction."""
    row = conn.execute("SELECT * FROM take_openid_attempt(%s)", (digest(browser),)).fetchone()
    return row if row and row["expires_at"] > datetime.now(UTC) else None


def admit(conn: Connection, provider: Provider, claims: dict[str, Any]) -> str:
    """The name of the person of these claims, known or new, with the role that the provider's groups give.

    Raises `OpenIdRefused`: no group is mapped, the name belongs to somebody else, the person was disabled here.
    """
    role = role_of(provider, claims)
    if role is None:
        raise OpenIdRefused("your account has no role here: ask your administrator")
    subject = claims["sub"]
    row = conn.execute(
        "SELECT name, role, disabled_at FROM portal_user WHERE tenant = %s AND openid_subject = %s FOR UPDATE",
        (provider.tenant, subject),
    ).fetchone()
    if row is None:
        return _add_person(conn, provider, claims, role)
    if row["disabled_at"]:
        raise OpenIdRefused("your account is disabled here: ask your administrator")
    if row["role"] != role:
        conn.execute(
            "UPDATE portal_user SET role = %s, party_id = NULL WHERE tenant = %s AND name = %s",
            (role, provider.tenant, row["name"]),
        )
        conn.execute(
            "DELETE FROM portal_session WHERE tenant = %s AND user_name = %s", (provider.tenant, row["name"])
        )
        detail = {"user": row["name"], "by": provider.issuer, "changes": {"role": role}}
        audit.record(conn, provider.tenant, AuditEvent.USER_CHANGED, detail)
    return str(row["name"])


def _add_person(conn: Connection, provider: Provider, claims: dict[str, Any], role: str) -> str:
    """A name that somebody has already is never taken over: it may be a local user's."""
    name = passwords.normalized(str(claims.get(provider.name_claim) or claims["sub"]))[
        :USER_NAME_LENGTH_MAX
    ].strip()
    try:
        require_user_name(name)
    except PortalError:
        raise OpenIdRefused("the name that the provider gives cannot be used here") from None
    made = conn.execute(
        """INSERT INTO portal_user (tenant, name, role, openid_subject) VALUES (%s, %s, %s, %s)
           ON CONFLICT DO NOTHING RETURNING name""",
        (provider.tenant, name, role, claims["sub"]),
    ).fetchone()
    if made is None:
        raise OpenIdRefused("somebody else has this name here: ask your administrator")
    detail = {"user": name, "by": provider.issuer, "changes": {"added": True, "role": role}}
    audit.record(conn, provider.tenant, AuditEvent.USER_CHANGED, detail)
    return name
