"""Peers: the PACS and scanners that may send studies, and where results go."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from pipeline import store
from pipeline.database import Connection
from portal.context import EDITS_PEERS, SEES_PEERS, Identity
from portal.errors import PageNotFound
from portal.render import page
from portal.requests import Context, signed_in
from study.errors import InvalidAETitle
from study.identifiers import AETitle

router = APIRouter(include_in_schema=False)

Editor = Annotated[Identity, Depends(signed_in(EDITS_PEERS))]

_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,253}", re.ASCII)  # names, IPv4 and IPv6 addresses with their zone


@dataclass(frozen=True)
class PeerForm:
    """What the form holds, as text. original: the AE title that is being changed, empty for a new peer."""

    original: str = ""
    ae_title: str = ""
    host: str = ""
    port: str = "104"
    quiet_time_s: str = "10"
    result_destination: str = ""
    check_host: bool = False
    is_test: bool = False
    enabled: bool = True


@router.get("/peers")
def show(
    request: Request, context: Context, identity: Annotated[Identity, Depends(signed_in(SEES_PEERS))]
) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        rows = store.list_peers(conn, identity.tenant)
        tenant = store.get_tenant(conn, identity.tenant)
    return page(request, "peers.html", rows=rows, called_ae_title=tenant["called_ae_title"])


@router.get("/peers/edit")
def edit(request: Request, context: Context, identity: Editor, ae_title: str = "") -> Response:
    """The form: empty, or with the peer of this AE title."""
    with context.database.transaction(identity.tenant) as conn:
        if not ae_title:
            return _form(request, conn, identity, PeerForm(), {})
        row = store.get_peer(conn, identity.tenant, ae_title)
        if row is None:
            raise PageNotFound
        form = PeerForm(
            original=row["ae_title"],
            ae_title=row["ae_title"],
            host=row["host"],
            port=str(row["port"]),
            quiet_time_s=f"{row['quiet_time_s']:g}",
            result_destination=row["result_destination"] or "",
            check_host=row["check_host"],
            is_test=row["is_test"],
            enabled=row["enabled"],
        )
        return _form(request, conn, identity, form, {})


@router.post("/peers")
def save(
    request: Request,
    context: Context,
    identity: Editor,
    ae_title: Annotated[str, Form(max_length=100)] = "",
    host: Annotated[str, Form(max_length=300)] = "",
    port: Annotated[str, Form(max_length=20)] = "",
    quiet_time_s: Annotated[str, Form(max_length=20)] = "",
    result_destination: Annotated[str, Form(max_length=100)] = "",
    original: Annotated[str, Form(max_length=100)] = "",
    check_host: Annotated[bool, Form()] = False,
    is_test: Annotated[bool, Form()] = False,
    enabled: Annotated[bool, Form()] = False,
) -> Response:
    form = PeerForm(
        original, ae_title.strip(), host.strip(), port.strip(), quiet_time_s.strip(), result_destination,
        check_host, is_test, enabled,
    )  # fmt: skip
    with context.database.transaction(identity.tenant) as conn:
        known = {row["ae_title"] for row in store.list_peers(conn, identity.tenant)}
        problems = _problems(form, known)
        if problems:
            return _form(request, conn, identity, form, problems)
        store.save_peer(
            conn,
            identity.tenant,
            ae_title=form.ae_title,
            host=form.host,
            port=int(form.port),
            quiet_time_s=float(form.quiet_time_s),
            result_destination=form.result_destination or None,
            check_host=form.check_host,
            is_test=form.is_test,
            enabled=form.enabled,
        )
    return RedirectResponse("/peers", 303)


def _form(
    request: Request, conn: Connection, identity: Identity, form: PeerForm, problems: dict[str, str]
) -> Response:
    others = [row["ae_title"] for row in store.list_peers(conn, identity.tenant)]
    return page(
        request,
        "peer_form.html",
        status_code=422 if problems else 200,
        form=asdict(form),
        problems=problems,
        others=[name for name in others if name != form.original],
    )


def _problems(form: PeerForm, known: set[str]) -> dict[str, str]:
    """Field → sentence, for each value that cannot be saved."""
    problems: dict[str, str] = {}
    try:
        AETitle(form.ae_title)
    except InvalidAETitle:
        problems["ae_title"] = "An AE title has 1 to 16 printable characters without a backslash."
    if form.original:
        if form.ae_title != form.original:
            problems["ae_title"] = "The AE title of a peer stays; add another peer instead."
        elif form.original not in known:
            raise PageNotFound
    elif form.ae_title in known:
        problems["ae_title"] = "There is a peer of this AE title already."
    if _HOST.fullmatch(form.host) is None:
        problems["host"] = "Give a host name or an IP address."
    if not (form.port.isdecimal() and form.port.isascii() and 1 <= int(form.port) <= 65535):
        problems["port"] = "A port is a number from 1 to 65535."
    if not _is_quiet_time(form.quiet_time_s):
        problems["quiet_time_s"] = "Give 0.1 to 3600 seconds."
    if form.result_destination and form.result_destination not in known | {form.ae_title}:
        problems["result_destination"] = "There is no peer of this AE title."
    return problems


def _is_quiet_time(text: str) -> bool:
    try:
        return 0.1 <= float(text) <= 3600
    except ValueError:
        return False
