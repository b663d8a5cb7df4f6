"""Destinations: where results go, what each takes and how patiently it is asked."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from pipeline import destinations, store
from pipeline.destinations import (
    AIR_KINDS,
    CHARACTER_SETS,
    OBJECT_KINDS,
    STAND_INS,
    DestinationRecord,
    kinds_of,
)
from pipeline.errors import DestinationInUse
from pipeline.send_objects import Sender
from portal.context import EDITS_PEERS, SEES_PEERS, Identity
from portal.delivery_text import TOLD_WORDS
from portal.errors import PageNotFound
from portal.render import page
from portal.requests import Context, signed_in

router = APIRouter(include_in_schema=False)

Editor = Annotated[Identity, Depends(signed_in(EDITS_PEERS))]
Text = Annotated[str, Field(max_length=1000)]

_NUMBERS: dict[str, type[int] | type[float]] = {
    "port": int,
    "objects_per_s": float,
    "associations_max": int,
    "response_timeout_s": float,
    "attempts_max": int,
    "back_off_min_s": float,
    "back_off_max_s": float,
    "give_up_after_s": float,
}
_MAY_BE_EMPTY = frozenset({"port", "objects_per_s"})
_TEXTS = (
    "ae_title", "host", "url", "authority_file", "certificate_file", "token_file", "patient_system", "accession_system",
    "receiving_application", "receiving_facility",
)  # fmt: skip
_LISTS = ("private_hosts", "recipients")  # with commas between
_BY_URL, _BY_HOST = frozenset({"stow", "fhir", "webhook"}), frozenset({"dimse", "hl7"})
_ONLY_FOR: dict[str, frozenset[str]] = {
    "ae_title": frozenset({"dimse"}),
    "host": _BY_HOST,
    "port": _BY_HOST,
    "use_tls": _BY_HOST,
    "url": _BY_URL,
    "token_file": _BY_URL,
    "allow_plain_http": _BY_URL,
    "private_hosts": frozenset({"fhir", "webhook"}),
    "recipients": frozenset({"email"}),
}
"""Field → the kinds that have it. What belongs to another kind is not kept where nobody sees it."""


class DestinationForm(BaseModel):
    """What the form holds, numbers as text. original: the name that is being changed, empty for a new one."""

    original: Text = ""
    name: Text = ""
    kind: Text = "dimse"
    ae_title: Text = ""
    host: Text = ""
    port: Text = ""
    url: Text = ""
    allow_plain_http: bool = False
    use_tls: bool = False
    authority_file: Text = ""
    certificate_file: Text = ""
    token_file: Text = ""
    object_kinds: list[Text] = Field(default=[], max_length=20)
    fallbacks: Text = ""
    required: bool = False
    objects_per_s: Text = ""
    associations_max: Text = ""
    response_timeout_s: Text = ""
    attempts_max: Text = ""
    back_off_min_s: Text = ""
    back_off_max_s: Text = ""
    give_up_after_s: Text = ""
    confirmation: Text = "none"
    enabled: bool = False
    events: list[Text] = Field(default=[], max_length=20)
    private_hosts: Text = ""
    with_accession: bool = False
    with_pdf: bool = False
    patient_system: Text = ""
    accession_system: Text = ""
    receiving_application: Text = ""
    receiving_facility: Text = ""
    character_set: Text = "UNICODE UTF-8"
    recipients: Text = ""


@router.get("/destinations")
def show(
    request: Request, context: Context, identity: Annotated[Identity, Depends(signed_in(SEES_PEERS))]
) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        rows = destinations.list_destinations(conn, identity.tenant)
    return _list(request, rows)


@router.get("/destinations/edit")
def edit(request: Request, context: Context, identity: Editor, name: str = "") -> Response:
    """The form: with the defaults, or with the destination of this name."""
    if not name:
        return _form(
            request,
            _shown(
                DestinationRecord(identity.tenant, "", port=104, object_kinds=AIR_KINDS, fallbacks=STAND_INS)
            ),
            {},
        )
    with context.database.transaction(identity.tenant) as conn:
        record = destinations.get_destination(conn, identity.tenant, name)
    if record is None:
        raise PageNotFound
    return _form(request, _shown(record) | {"original": name}, {})


@router.post("/destinations")
def save(
    request: Request, context: Context, identity: Editor, form: Annotated[DestinationForm, Form()]
) -> Response:
    record, problems = _record(identity.tenant, form)
    with context.database.transaction(identity.tenant) as conn:
        known = {one.name for one in destinations.list_destinations(conn, identity.tenant)}
        if form.original and form.original not in known:
            raise PageNotFound
        if form.original and record.name != form.original:
            problems["name"] = "The name of a destination stays; add another one instead."
        elif not form.original and record.name in known:
            problems["name"] = "There is a destination of this name already."
        problems = destinations.problems_of(record) | problems
        if problems:
            return _form(request, form.model_dump(), problems)
        destinations.save_destination(conn, record, changed_by=identity.user_name)
    return RedirectResponse("/destinations", 303)


@router.post("/destinations/remove")
def remove(
    request: Request, context: Context, identity: Editor, name: Annotated[str, Form(max_length=64)]
) -> Response:
    try:
        with context.database.transaction(identity.tenant) as conn:
            if not destinations.remove_destination(
                conn, identity.tenant, name, changed_by=identity.user_name
            ):
                raise PageNotFound
    except DestinationInUse as error:
        with context.database.transaction(identity.tenant) as conn:
            rows = destinations.list_destinations(conn, identity.tenant)
        return _list(request, rows, status_code=409, in_use={"name": name, **vars(error)})
    return RedirectResponse("/destinations", 303)


@router.post("/destinations/test")
def test(
    request: Request, context: Context, identity: Editor, name: Annotated[str, Form(max_length=64)]
) -> Response:
    """Ask it whether it is there and shows what it said. Nothing is stored there."""
    with context.database.transaction(identity.tenant) as conn:
        rows = destinations.list_destinations(conn, identity.tenant)
        calling = store.get_tenant(conn, identity.tenant)["called_ae_title"]
    record = next((one for one in rows if one.name == name), None)
    if record is None:
        raise PageNotFound
    problem = Sender(calling, context.data_root / "secrets", context.mail).test(record)
    return _list(request, rows, tested={"name": name, "problem": problem})


def _list(
    request: Request, rows: list[DestinationRecord], *, status_code: int = 200, **told: dict[str, Any]
) -> Response:
    """The page. told: what came of the test or the removal of one of them."""
    return page(
        request, "destinations.html", status_code=status_code, rows=rows, all_kinds=OBJECT_KINDS,
        event_words=TOLD_WORDS, **told,
    )  # fmt: skip


def _shown(record: DestinationRecord) -> dict[str, Any]:
    values = asdict(record) | {"original": ""}
    for name in _NUMBERS:
        values[name] = "" if values[name] is None else f"{values[name]:.10g}"
    values["fallbacks"] = ", ".join(record.fallbacks)
    values |= {name: ", ".join(values[name]) for name in _LISTS}
    return values | {name: values[name] or "" for name in _TEXTS}


def _record(tenant: str, form: DestinationForm) -> tuple[DestinationRecord, dict[str, str]]:
    """The record as far as the form's values can be read, and field → sentence for those that cannot."""
    problems: dict[str, str] = {}
    values: dict[str, Any] = form.model_dump(exclude={"original", *_NUMBERS})
    values |= {name: values[name].strip() or None for name in _TEXTS}
    values |= {"name": form.name.strip(), "object_kinds": tuple(form.object_kinds)}
    values["fallbacks"] = kinds_of(form.fallbacks)
    values |= {"events": tuple(form.events)}
    values |= {name: tuple(filter(None, map(str.strip, values[name].split(",")))) for name in _LISTS}
    for name, kind in _NUMBERS.items():
        text = getattr(form, name).strip()
        if not text and name in _MAY_BE_EMPTY:
            values[name] = None
            continue
        try:
            values[name] = kind(text)
        except ValueError:
            problems[name] = "This is not a number."
    nothing = vars(DestinationRecord("", ""))
    for name, kinds in _ONLY_FOR.items():
        if form.kind not in kinds:
            values[name] = nothing[name]
            problems.pop(name, None)
    return DestinationRecord(tenant=tenant, **values), problems


def _form(request: Request, form: dict[str, Any], problems: dict[str, str]) -> Response:
    return page(
        request,
        "destination_form.html",
        status_code=422 if problems else 200,
        form=form,
        problems=problems,
        all_kinds=OBJECT_KINDS,
        event_words=TOLD_WORDS,
        character_sets=list(CHARACTER_SETS),
    )
