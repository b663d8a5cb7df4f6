"""Peers: the PACS and scanners that may send studies, and where results go."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse

from pipeline import destinations, peers, store
from pipeline.archives import archive_of
from pipeline.database import Connection
from pipeline.errors import DestinationInUse, PeerInvalid, PeerUnknown
from pipeline.peers import PeerEntry
from portal.context import EDITS_PEERS, SEES_PEERS, Identity, PortalContext
from portal.errors import PageNotFound
from portal.render import page
from portal.requests import Context, signed_in

router = APIRouter(include_in_schema=False)

Editor = Annotated[Identity, Depends(signed_in(EDITS_PEERS))]

Lines = Annotated[str, Form(max_length=20_000)]
Short = Annotated[str, Form(max_length=100)]
Title = Annotated[str, Form(max_length=16)]
_OPTIONAL = (
    "result_destination", "query_ae_title", "query_host", "query_url", "query_username", "query_authority_file",
    "query_certificate_file",
)  # fmt: skip
_SECONDS = ("quiet_time_s", "quiet_time_max_s", "force_after_s")


@dataclass(frozen=True)
class PeerForm:
    """What the form holds, as text; a list is one entry a line.

    original: the AE title that is being changed, empty for a new peer.
    """

    original: str = ""
    ae_title: str = ""
    host: str = ""
    port: str = "104"
    quiet_time_s: str = "10"
    result_destination: str = ""
    hosts: str = ""
    certificates: str = ""
    modalities: str = ""
    sop_classes: str = ""
    duplicate_policy: str = "failure"
    check_host: bool = False
    is_test: bool = False
    enabled: bool = True
    query_kind: str = "none"
    query_ae_title: str = ""
    query_host: str = ""
    query_port: str = ""
    query_url: str = ""
    query_username: str = ""
    query_retrieve: str = "move"
    query_tls: bool = False
    query_authority_file: str = ""
    query_certificate_file: str = ""
    quiet_time_max_s: str = "130"
    force_after_s: str = "600"
    force_policy: str = "process"
    archive_habit: str = "learned"
    site: str = ""
    department: str = ""

    def values(self) -> dict[str, Any]:
        """As `PeerEntry` takes them; a number that is none becomes one that it refuses."""
        values = asdict(self)
        del values["original"]
        for name in ("hosts", "certificates", "modalities", "sop_classes"):
            values[name] = tuple(line.strip() for line in values[name].splitlines() if line.strip())
        for name in _OPTIONAL:
            values[name] = values[name].strip() or None
        values["port"] = _port(self.port)
        values["query_port"] = _port(self.query_port) if self.query_port.strip() else None
        for name in _SECONDS:
            values[name] = _seconds(values[name])
        return values


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _port(text: str) -> int:
    text = text.strip()
    return int(text[:6]) if text.isdecimal() and text.isascii() else 0


@router.get("/peers")
def show(
    request: Request, context: Context, identity: Annotated[Identity, Depends(signed_in(SEES_PEERS))]
) -> Response:
    return _list(request, context, identity)


@router.get("/peers/edit")
def edit(request: Request, context: Context, identity: Editor, ae_title: str = "") -> Response:
    """The form: empty, or with the peer of this AE title."""
    with context.database.transaction(identity.tenant) as conn:
        if not ae_title:
            return _form(request, conn, identity, PeerForm(), {})
        row = peers.get_peer(conn, identity.tenant, ae_title)
        if row is None:
            raise PageNotFound
        values: dict[str, Any] = {
            name: "\n".join(value) if isinstance(value, tuple) else value
            for name, value in peers.values_of(row).items()
        }
        values |= {
            "original": row["ae_title"],
            "port": str(row["port"]),
            **{name: f"{row[name]:g}" for name in _SECONDS},
        }
        values = {name: "" if value is None else value for name, value in values.items()}
        values["query_port"] = str(values["query_port"])
        return _form(request, conn, identity, PeerForm(**values), {})


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
    hosts: Lines = "",
    certificates: Lines = "",
    modalities: Lines = "",
    sop_classes: Lines = "",
    duplicate_policy: Annotated[str, Form(max_length=20)] = "failure",
    original: Annotated[str, Form(max_length=100)] = "",
    check_host: Annotated[bool, Form()] = False,
    is_test: Annotated[bool, Form()] = False,
    enabled: Annotated[bool, Form()] = False,
    query_kind: Short = "none",
    query_ae_title: Short = "",
    query_host: Annotated[str, Form(max_length=300)] = "",
    query_port: Short = "",
    query_url: Annotated[str, Form(max_length=3000)] = "",
    query_username: Annotated[str, Form(max_length=300)] = "",
    query_retrieve: Short = "move",
    query_tls: Annotated[bool, Form()] = False,
    query_authority_file: Annotated[str, Form(max_length=300)] = "",
    query_certificate_file: Annotated[str, Form(max_length=300)] = "",
    quiet_time_max_s: Short = "130",
    force_after_s: Short = "600",
    force_policy: Short = "process",
    archive_habit: Short = "learned",
    site: Short = "",
    department: Short = "",
) -> Response:
    form = PeerForm(
        original, ae_title.strip(), host.strip(), port.strip(), quiet_time_s.strip(), result_destination, hosts,
        certificates, modalities, sop_classes, duplicate_policy, check_host, is_test, enabled,
        query_kind, query_ae_title, query_host, query_port, query_url, query_username, query_retrieve,
        query_tls, query_authority_file, query_certificate_file,
        quiet_time_max_s.strip(), force_after_s.strip(), force_policy, archive_habit,
        site.strip(), department.strip(),
    )  # fmt: skip
    with context.database.transaction(identity.tenant) as conn:
        known = {row["ae_title"] for row in peers.list_peers(conn, identity.tenant)}
        problems = _problems(form, known, destinations.names(conn, identity.tenant))
        if problems:
            return _form(request, conn, identity, form, problems)
        peers.save_peer(conn, identity.tenant, changed_by=identity.user_name, **form.values())
    return RedirectResponse("/peers", 303)


@router.post("/peers/remove")
def remove(request: Request, context: Context, identity: Editor, ae_title: Title) -> Response:
    try:
        with context.database.transaction(identity.tenant) as conn:
            peers.remove_peer(conn, identity.tenant, ae_title, changed_by=identity.user_name)
    except PeerUnknown:
        raise PageNotFound from None
    except DestinationInUse as error:
        return _list(request, context, identity, status_code=409, in_use={"name": ae_title, **vars(error)})
    return RedirectResponse("/peers", 303)


@router.post("/peers/test")
def test(request: Request, context: Context, identity: Editor, ae_title: Title) -> Response:
    """Ask its archive for a study that nobody has, and show what it said."""
    database = context.database
    with database.transaction(identity.tenant) as conn:
        if peers.get_peer(conn, identity.tenant, ae_title) is None:
            raise PageNotFound
        archive = archive_of(conn, identity.tenant, ae_title, database.masters, database.secrets)
    problem = archive.test() if archive is not None else "no archive is set for it"
    return _list(request, context, identity, tested={"name": ae_title, "problem": problem})


def _list(
    request: Request, context: PortalContext, identity: Identity, *, status_code: int = 200, **told: Any
) -> Response:
    """The page. told: what came of the test or the removal of one of them."""
    with context.database.transaction(identity.tenant) as conn:
        rows = peers.list_peers(conn, identity.tenant)
        called = store.get_tenant(conn, identity.tenant)["called_ae_title"]
    return page(request, "peers.html", status_code=status_code, rows=rows, called_ae_title=called, **told)


def _form(
    request: Request, conn: Connection, identity: Identity, form: PeerForm, problems: dict[str, str]
) -> Response:
    others = destinations.names(conn, identity.tenant)
    return page(
        request,
        "peer_form.html",
        status_code=422 if problems else 200,
        form=asdict(form),
        problems=problems,
        others=sorted(others - {form.original}),
    )


def _problems(form: PeerForm, known: set[str], destinations_known: frozenset[str]) -> dict[str, str]:
    """Field → sentence, for each value that cannot be saved."""
    problems: dict[str, str] = {}
    values = form.values()
    for name, value in values.items():
        others = {"query_url": values["query_url"]} if name == "query_kind" else {}
        try:
            PeerEntry(**{"ae_title": "ANY", "host": "any", **others, name: value})
        except PeerInvalid as error:
            problems[error.field] = error.sentence
    if form.original:
        if form.ae_title != form.original:
            problems["ae_title"] = "The AE title of a peer stays; add another peer instead."
        elif form.original not in known:
            raise PageNotFound
    elif form.ae_title in known:
        problems["ae_title"] = "There is a peer of this AE title already."
    if form.result_destination and form.result_destination not in destinations_known | {form.ae_title}:
        problems["result_destination"] = "There is no destination and no peer of this name."
    return problems
