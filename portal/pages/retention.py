"""How long images and results stay, and legal holds: who placed one, when and why."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from pipeline import retention
from pipeline.errors import HoldNotFound, HoldUnclear, RetentionPolicyInvalid, StudyNotFound
from portal.context import EDITS_PEERS, SEES_PEERS, Identity
from portal.errors import PageNotFound
from portal.render import page
from portal.requests import Context, signed_in

router = APIRouter(include_in_schema=False)

Reader = Annotated[Identity, Depends(signed_in(SEES_PEERS))]
Admin = Annotated[Identity, Depends(signed_in(EDITS_PEERS))]
Days = Annotated[str, Form(max_length=6)]
Reason = Annotated[str, Form(max_length=500)]


@router.get("/retention")
def show(request: Request, context: Context, identity: Reader) -> Response:
    return _show(request, context, identity)


@router.post("/retention/policy")
def set_policy(
    request: Request,
    context: Context,
    identity: Admin,
    images_days: Days = "",
    results_days: Days = "",
    quarantine_days: Days = "",
) -> Response:
    """Empty = for ever."""
    try:
        policy = retention.RetentionPolicy(*map(_days, (images_days, results_days, quarantine_days)))
    except (ValueError, RetentionPolicyInvalid):
        problem = (
            "Give whole days, 1 to 36500. Images may not stay longer than the results that were made of them."
        )
        return _show(request, context, identity, problem=problem, status=422)
    with context.database.transaction(identity.tenant) as conn:
        retention.set_policy(conn, identity.tenant, policy, by=identity.user_name, now=datetime.now(UTC))
    return RedirectResponse("/retention", 303)


@router.post("/retention/hold")
def hold(
    request: Request,
    context: Context,
    identity: Admin,
    reason: Reason = "",
    of: Annotated[Literal["study", "patient", "everything"], Form()] = "study",
    which: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    """which: the id of the study, or the Patient ID."""
    which = which.strip()
    try:
        if of != "everything" and not which:
            raise HoldUnclear
        with context.database.transaction(identity.tenant) as conn:
            retention.place_hold(
                conn,
                identity.tenant,
                study_id=UUID(which) if of == "study" else None,
                patient_id=which if of == "patient" else "",
                reason=reason,
                by=identity.user_name,
                now=datetime.now(UTC),
            )
    except (HoldUnclear, StudyNotFound, ValueError):
        problem = "Name the study by its id, or the patient, and say why."
        return _show(request, context, identity, problem=problem, status=422)
    return RedirectResponse("/retention", 303)


@router.post("/retention/release")
def release(
    request: Request,
    context: Context,
    identity: Admin,
    hold_id: Annotated[int, Form(ge=1, lt=1 << 63)],
    reason: Reason = "",
) -> Response:
    try:
        with context.database.transaction(identity.tenant) as conn:
            retention.release_hold(
                conn, identity.tenant, hold_id, reason=reason, by=identity.user_name, now=datetime.now(UTC)
            )
    except HoldNotFound:
        raise PageNotFound from None
    except HoldUnclear:
        return _show(request, context, identity, problem="Say why it is released.", status=422)
    return RedirectResponse("/retention", 303)


def _days(text: str) -> int | None:
    return int(text) if text.strip() else None


def _show(
    request: Request, context: Context, identity: Identity, *, problem: str = "", status: int = 200
) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        policy = retention.policy_of(conn, identity.tenant)
        holds = retention.holds(conn, identity.tenant)
    return page(
        request,
        "retention.html",
        status_code=status,
        policy=policy,
        holds=holds,
        problem=problem,
        may_edit=identity.may(EDITS_PEERS),
    )
