"""Who stands behind a command that needs two people: each proves it with the password of the portal."""

from __future__ import annotations

from dataclasses import dataclass

import typer

from pipeline import audit
from pipeline.audit import AuditEvent
from pipeline.database import Connection
from pipeline.store import Row
from portal import passwords, second_factor
from portal.context import APPROVES_MONEY, CHANGES_MONEY, CLOSES_BOOKS, Role
from server.errors import CommandFailed
from server.settings import load_settings


@dataclass(frozen=True)
class Person:
    """A user of the portal who has proved to be the one. party_id: whom the person belongs to, if anybody."""

    name: str
    party_id: str | None


def preparer(conn: Connection, tenant: str, name: str) -> str:
    """The name of who asks for something that a second person approves. Raises `CommandFailed`."""
    return confirm(conn, tenant, name, CHANGES_MONEY, "asks for this").name


def approver(conn: Connection, tenant: str, name: str) -> Person:
    """Who approves what somebody else asked for. Raises `CommandFailed`."""
    return confirm(conn, tenant, name, APPROVES_MONEY, "approves this")


def signer(conn: Connection, tenant: str, name: str) -> str:
    """The name of who signs a month's checklist. Raises `CommandFailed`."""
    return confirm(conn, tenant, name, CLOSES_BOOKS, "signs this").name


def confirm(conn: Connection, tenant: str, name: str, roles: frozenset[Role], does: str) -> Person:
    """Ask for the person's password, and for a code where a second factor is set up.

    Called before anything is written: what was tried in vain is committed to the audit trail.
    """
    user = conn.execute(
        "SELECT * FROM portal_user WHERE tenant = %s AND name = %s", (tenant, passwords.normalized(name))
    ).fetchone()
    if user is None or user["disabled_at"]:
        raise CommandFailed(f"{name} is no user who may sign in: see `radmeter user list`")
    if Role(user["role"]) not in roles:
        who = ", ".join(sorted(role.value for role in roles))
        raise CommandFailed(f"{name} is {user['role']}: who {does} is {who}")
    if user["password_hash"] is None:
        raise CommandFailed(f"{name} has no password here but signs in with OpenID Connect: use the portal")
    if user["must_change_password"]:
        raise CommandFailed(f"somebody else knows the password of {name}: change it in the portal first")
    password = typer.prompt(f"Password of {name}, who {does}", hide_input=True, err=True)
    if not passwords.matches(user["password_hash"], password):
        _refuse(conn, user, "", "this is not the password")
    if user["totp_secret"] is not None:
        code = typer.prompt(f"Code of {name}", hide_input=True, err=True)
        if second_factor.use_code(conn, load_settings(), tenant, user["name"], code) is None:
            _refuse(conn, user, "second factor", "this is not the code, or it was used")
    return Person(user["name"], user["party_id"])


def _refuse(conn: Connection, user: Row, reason: str, problem: str) -> None:
    detail = {"user": user["name"], "host": "the command line", "reason": reason}
    audit.record(conn, user["tenant"], AuditEvent.SIGN_IN_FAILED, detail)
    conn.commit()
    raise CommandFailed(f"{problem} of {user['name']}")
