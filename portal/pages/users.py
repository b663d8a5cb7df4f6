"""People who sign in, and what their roles ask of them. For admins."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from pipeline import store
from portal import auth, second_factor, users
from portal.context import EDITS_USERS, Identity, Role
from portal.errors import InvalidInput, PortalError
from portal.render import page
from portal.requests import Context, signed_in
from portal.sessions import end_sessions

router = APIRouter(include_in_schema=False)

Admin = Annotated[Identity, Depends(signed_in(EDITS_USERS))]
Name = Annotated[str, Form(max_length=100)]
Change = Literal["role", "language", "disable", "enable", "second-factor", "sessions", "password"]


@router.get("/users")
def show(request: Request, context: Context, identity: Admin) -> Response:
    return _list(request, context, identity)


@router.post("/users")
def add(
    request: Request,
    context: Context,
    identity: Admin,
    name: Name = "",
    role: Annotated[str, Form(max_length=20)] = "",
    party: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """A new person; the first password is made here, shown once, and changed at the first sign-in."""
    password = auth.random_password()
    typed = {"name": name, "role": role, "party": party}
    try:
        with context.database.transaction(identity.tenant) as conn:
            auth.create_user(
                conn, identity.tenant, name.strip(), password, _role(role), party.strip() or None,
                must_change=True, by=identity.user_name,
            )  # fmt: skip
    except PortalError as error:
        return _list(request, context, identity, problem=str(error), typed=typed, status=error.status)
    return _list(request, context, identity, shown_once=(name.strip(), password))


@router.post("/users/change")
def change(
    request: Request,
    context: Context,
    identity: Admin,
    name: Name,
    what: Annotated[Change, Form()],
    role: Annotated[str, Form(max_length=20)] = "",
    language: Annotated[str, Form(max_length=10)] = "",
) -> Response:
    tenant, by = identity.tenant, identity.user_name
    shown_once: tuple[str, str] | None = None
    try:
        with context.database.transaction(tenant) as conn:
            users.require_user(conn, tenant, name)
            match what:
                case "role":
                    users.set_role(conn, tenant, name, _role(role), by=by)
                case "language":
                    users.set_language(conn, tenant, name, language, by=by)
                case "disable" | "enable":
                    users.set_enabled(conn, tenant, name, enabled=what == "enable", by=by)
                case "second-factor":
                    second_factor.remove(conn, tenant, name, by=by)
                    end_sessions(conn, tenant, name, by=by, is_recorded=False)
                case "sessions":
                    end_sessions(conn, tenant, name, by=by)
                case "password":
                    shown_once = (name, auth.random_password())
                    auth.set_password(conn, tenant, name, shown_once[1], must_change=True, by=by)
    except PortalError as error:
        if error.status == 404:
            raise
        return _list(request, context, identity, problem=str(error), status=error.status)
    if shown_once:
        return _list(request, context, identity, shown_once=shown_once)
    return RedirectResponse("/users", 303)


@router.post("/users/policy")
def set_policy(
    context: Context, identity: Admin, roles: Annotated[list[str] | None, Form()] = None
) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        users.set_policy(conn, identity.tenant, [_role(one) for one in roles or []], by=identity.user_name)
    return RedirectResponse("/users", 303)


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError:
        raise InvalidInput from None


def _list(
    request: Request,
    context: Context,
    identity: Identity,
    *,
    problem: str = "",
    typed: dict[str, str] | None = None,
    shown_once: tuple[str, str] | None = None,
    status: int = 200,
) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        rows = users.list_users(conn, identity.tenant)
        policy = store.get_tenant(conn, identity.tenant)["second_factor_roles"]
    return page(
        request, "users.html", status_code=status, rows=rows, policy=policy, problem=problem,
        typed=typed or {"name": "", "role": Role.RADIOLOGIST.value, "party": ""},
        shown_once=shown_once, roles=[role.value for role in Role],
    )  # fmt: skip
