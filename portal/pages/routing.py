"""Routing: versions of the rules, an editor that checks, a tester, a replay, and putting a version in force."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, Query, Request, Response, UploadFile
from fastapi.responses import RedirectResponse

from dicom_gateway.inspect import InspectError, inspect_study
from models.errors import ModelError
from models.manifest import Manifest
from models.registry import get_model, model_names
from pipeline import destinations, rule_store, store
from pipeline.database import Connection
from pipeline.errors import PipelineError
from pipeline.models_for_study import active_manifests
from pipeline.route_explain import obstacle_text, outcome_lines
from pipeline.route_replay import DAYS_MAX, replay
from pipeline.route_rules import Routing, route_by_rules
from pipeline.rule_document import DOCUMENT_LENGTH_MAX, read_rules
from pipeline.rule_errors import RuleSetNotFound, RulesInvalid
from pipeline.rule_keywords import Arrival
from pipeline.rules import RuleSet
from pipeline.study_facts import load_facts, restore
from portal.context import EDITS_ROUTING, SEES_ROUTING, Identity, PortalContext
from portal.errors import PageNotFound, RoleNotAllowed
from portal.render import page
from portal.requests import Context, parse_id, signed_in
from study.study import Study

router = APIRouter(include_in_schema=False)

Viewer = Annotated[Identity, Depends(signed_in(SEES_ROUTING))]
Editor = Annotated[Identity, Depends(signed_in(EDITS_ROUTING))]
Version = Annotated[int, Query(ge=1, le=2**31 - 1)]

_NO_STUDY = (
    "Give the whole id of a study that was routed, or choose a file. Its page shows the id below the series."
)
_FIRST = """rules:
  - name: chest CT
    series: Modality == "CT" and SliceThickness <= 2
    models: [lung_nodule_ct]
"""


@router.get("/routing")
def show(request: Request, context: Context, identity: Viewer) -> Response:
    with context.database.transaction(identity.tenant) as conn:
        versions = rule_store.list_rule_sets(conn, identity.tenant)
        tenant = store.get_tenant(conn, identity.tenant)
    return page(request, "routing.html", versions=versions, models=tenant["models"])


@router.get("/routing/edit")
def edit(
    request: Request,
    context: Context,
    identity: Viewer,
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
) -> Response:
    """The editor, with a version or with an example."""
    with context.database.transaction(identity.tenant) as conn:
        document = _FIRST if version is None else _stored(conn, identity, version).document
    return _editor(request, document)


@router.post("/routing/edit")
def work(
    request: Request,
    context: Context,
    identity: Viewer,
    action: Annotated[str, Form(pattern="^(check|save|test|replay)$")] = "check",
    document: Annotated[str, Form(max_length=DOCUMENT_LENGTH_MAX * 2)] = "",
    note: Annotated[str, Form(max_length=200)] = "",
    study_id: Annotated[str, Form(max_length=100)] = "",
    calling: Annotated[str, Form(max_length=16)] = "",
    days: Annotated[int, Form(ge=1, le=DAYS_MAX)] = 30,
    file: Annotated[UploadFile | None, File()] = None,
) -> Response:
    """Check, and then save, test or replay what the editor holds."""
    document = document.replace("\r\n", "\n")
    values: dict[str, Any] = {"note": note, "study_id": study_id, "calling": calling, "days": days}
    known = model_names(context.data_root)
    with context.database.transaction(identity.tenant) as conn:
        names = destinations.names(conn, identity.tenant)
    try:
        rules = read_rules(document, context.time_zone, known_models=known, known_destinations=names)
    except RulesInvalid as error:
        return _editor(request, document, status_code=422, problems=error.problems, **values)
    if action == "save":
        if not identity.may(EDITS_ROUTING):
            raise RoleNotAllowed
        with context.database.transaction(identity.tenant) as conn:
            rule_store.add_rule_set(
                conn, identity.tenant, document, author=identity.user_name, note=note,
                known_models=known, known_destinations=names,
            )  # fmt: skip
        return RedirectResponse("/routing", 303)
    try:
        if action == "test":
            values["lines"], values["routing"] = _test(context, identity, rules, study_id, calling, file)
        elif action == "replay":
            with context.database.transaction(identity.tenant) as conn:
                find = _finder(context, conn, identity)
                values["found"] = replay(conn, identity.tenant, rules, days, find, context.time_zone)
    except PageNotFound:
        return _editor(request, document, status_code=404, failure=_NO_STUDY, **values)
    except (InspectError, ModelError, PipelineError) as error:
        return _editor(request, document, status_code=422, failure=str(error), **values)
    return _editor(request, document, is_checked=True, **values)


@router.get("/routing/activate")
def confirm(request: Request, context: Context, identity: Editor, version: Version) -> Response:
    """What would change, and the button."""
    with context.database.transaction(identity.tenant) as conn:
        wanted = _stored(conn, identity, version)
        active = next(
            (one for one in rule_store.list_rule_sets(conn, identity.tenant) if one.state == "active"), None
        )
    before = active.document.splitlines() if active else []
    lines = difflib.unified_diff(before, wanted.document.splitlines(), lineterm="", n=2)
    return page(request, "routing_activate.html", wanted=wanted, lines=list(lines)[2:])


@router.post("/routing/activate")
def activate(
    request: Request, context: Context, identity: Editor, version: Annotated[int, Form(ge=0, le=2**31 - 1)]
) -> Response:
    """Put a version in force; 0 = no rules."""
    with context.database.transaction(identity.tenant) as conn:
        document = _stored(conn, identity, version).document if version else ""
        known = destinations.names(conn, identity.tenant)
        try:
            rule_store.activate(
                conn, identity.tenant, version or None, by=identity.user_name, known_destinations=known
            )
        except RulesInvalid as error:
            return _editor(request, document, status_code=422, problems=error.problems)
    return RedirectResponse("/routing", 303)


def _stored(conn: Connection, identity: Identity, version: int) -> rule_store.StoredRuleSet:
    try:
        return rule_store.get_rule_set(conn, identity.tenant, version)
    except RuleSetNotFound:
        raise PageNotFound from None


def _finder(context: PortalContext, conn: Connection, identity: Identity) -> Callable[[str], Manifest]:
    return active_manifests(conn, identity.tenant, partial(get_model, data_directory=context.data_root))


def _test(
    context: PortalContext,
    identity: Identity,
    rules: RuleSet,
    study_id: str,
    calling: str,
    file: UploadFile | None,
) -> tuple[list[tuple[str, bool, list[str]]], Routing]:
    """(rule, whether it matches, what follows or why not) of each rule for the dropped file or the stored study."""
    with context.database.transaction(identity.tenant) as conn:
        if file is not None and file.size:
            called = store.get_tenant(conn, identity.tenant)["called_ae_title"]
            study, arrival = _inspect(file), Arrival(calling or "SENDER", called, datetime.now(UTC))
        else:
            facts = load_facts(conn, identity.tenant, str(parse_id(study_id.strip())))
            if facts is None:
                raise PageNotFound
            study, arrival = restore(facts)
        find = _finder(context, conn, identity)
    routing = route_by_rules(rules, study, arrival, find)
    lines = [
        (
            trace.rule.name,
            trace.is_match,
            outcome_lines(trace, identity.language)
            if trace.obstacle is None
            else [obstacle_text(trace.obstacle, identity.language)],
        )
        for trace in routing.traces
    ]
    return lines, routing


def _inspect(file: UploadFile) -> Study:
    """Read in a child process under limits, from a file that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="radmeter-route-test-") as folder:
        path = Path(folder, "dropped.dcm")
        path.write_bytes(file.file.read())
        return inspect_study([("dropped", path)]).study


def _editor(request: Request, document: str, *, status_code: int = 200, **values: Any) -> Response:
    blank: dict[str, Any] = {
        "problems": (), "failure": "", "is_checked": False, "lines": (), "routing": None, "found": None,
        "note": "", "study_id": "", "calling": "", "days": 30,
    }  # fmt: skip
    return page(
        request,
        "routing_edit.html",
        status_code=status_code,
        document=document,
        days_max=DAYS_MAX,
        **(blank | values),
    )
