"""Models: what is installed, what it is for, how well it did, and which versions of it the tenant runs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from models.errors import ModelError
from models.manifest import Manifest
from models.registry import Catalogue, find_models, is_built_in
from pipeline import deployments, store
from pipeline.database import Connection
from pipeline.deployments import DEFAULT, Deployment, Threshold
from pipeline.errors import DeploymentRefused
from portal.context import RUNS_MODELS, SEES_MODELS, Identity
from portal.errors import PageNotFound
from portal.markdown import Block, blocks
from portal.render import page
from portal.requests import Context, signed_in

log = logging.getLogger("radmeter.portal")

router = APIRouter(include_in_schema=False)

CARD_SIZE_MAX = 200_000
COUNTED_DAYS = 30
Short = Annotated[str, Field(max_length=100)]


class ChangeForm(BaseModel):
    """What the forms of a model hold."""

    model: Short
    action: Annotated[str, Field(pattern="^[a-z_]{1,20}$")]
    version: Short = ""
    percent: Annotated[int, Field(ge=0, le=100)] = 0
    site: Short = ""
    ae_title: Short = ""
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.0


@router.get("/models")
def show(
    request: Request,
    context: Context,
    identity: Annotated[Identity, Depends(signed_in(SEES_MODELS))],
    model: Annotated[str, Query(max_length=100)] = "",
    version: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """Every model in the version that is active, or one of them in the version that is asked for."""
    return _show(request, context, identity, wanted=(model, version) if model else None)


@router.post("/models")
def change(
    request: Request,
    context: Context,
    identity: Annotated[Identity, Depends(signed_in(RUNS_MODELS))],
    form: Annotated[ChangeForm, Form()],
) -> Response:
    action = _ACTIONS.get(form.action)
    if action is None:
        raise PageNotFound
    catalogue = find_models(context.data_root)
    try:
        with context.database.transaction(identity.tenant) as conn:
            action(conn, identity.tenant, catalogue, form, identity.user_name)
    except (ModelError, DeploymentRefused) as error:
        return _show(request, context, identity, refused=str(error))
    return RedirectResponse(f"/models#model-{form.model}" if form.model.isidentifier() else "/models", 303)


_Action = Callable[[Connection, str, Catalogue, ChangeForm, str], object]
_ACTIONS: dict[str, _Action] = {
    "enable": lambda conn, tenant, known, form, by: deployments.set_enabled(
        conn, tenant, known, form.model, True, by=by
    ),
    "disable": lambda conn, tenant, known, form, by: deployments.set_enabled(
        conn, tenant, known, form.model, False, by=by
    ),
    "activate": lambda conn, tenant, known, form, by: deployments.activate(
        conn, tenant, known, form.model, form.version, by=by
    ),
    "canary": lambda conn, tenant, known, form, by: deployments.set_canary(
        conn, tenant, known, form.model, form.version or None, form.percent, by=by
    ),
    "shadow": lambda conn, tenant, known, form, by: deployments.set_shadow(
        conn, tenant, known, form.model, form.version or None, by=by
    ),
    "roll_back": lambda conn, tenant, known, form, by: deployments.roll_back(
        conn, tenant, known, form.model, by=by
    ),
    "threshold": lambda conn, tenant, known, form, by: deployments.set_threshold(
        conn, tenant, known, _threshold(form), by=by
    ),
    "threshold_end": lambda conn, tenant, known, form, by: deployments.set_threshold(
        conn, tenant, known, _threshold(form), remove=True, by=by
    ),
}


def _threshold(form: ChangeForm) -> Threshold:
    return Threshold(form.model, form.version, form.threshold, form.site.strip(), form.ae_title.strip())


def _show(
    request: Request,
    context: Context,
    identity: Identity,
    *,
    wanted: tuple[str, str] | None = None,
    refused: str = "",
) -> Response:
    """A model that cannot be read must not hide the others: its problem is shown instead."""
    catalogue = find_models(context.data_root)
    for problem in catalogue.problems:
        log.warning("model_unreadable", extra={"error": str(problem)})
    with context.database.transaction(identity.tenant) as conn:
        enabled = store.get_tenant(conn, identity.tenant)["models"]
        decided = deployments.list_deployments(conn, identity.tenant)
        thresholds = deployments.list_thresholds(conn, identity.tenant)
        counted = _counted(conn, identity.tenant)
        names = dict.fromkeys(one.name for one in catalogue.models)
        history = {
            name: [row | {"text": deployments.change_text(row["detail"])} for row in rows]
            for name in names
            if (rows := deployments.history(conn, identity.tenant, name, limit=10))
        }
    shown = []
    for name in names:
        versions = catalogue.versions_of(name)
        deployment = decided.get(name, Deployment(name))
        version = wanted[1] if wanted is not None else deployment.active
        manifest = next((one for one in versions if one.version == version), versions[0])
        if wanted is not None and (name, manifest.version) != wanted:
            continue
        shown.append(
            {
                "manifest": manifest,
                "card": _card(manifest),
                "licence": _licence(manifest),
                "evaluation": _evaluation(manifest),
                "deployment": deployment,
                "used_by": sorted({one.name for one in catalogue.models if name in one.uses}),
                "is_enabled": name in enabled or manifest.product_code in enabled,
                "versions": [_version(one, deployment, versions[0], counted) for one in versions],
                "missing": sorted(deployment.versions - {DEFAULT, *(one.version for one in versions)}),
                "thresholds": [one for one in thresholds if one.model == name],
                "history": history.get(name, []),
            }
        )
    if wanted is not None and not shown:
        raise PageNotFound
    return page(
        request,
        "models.html",
        status_code=422 if refused else 200,
        shown=shown,
        problem=catalogue.problems[0].code if catalogue.problems else "",
        refused=refused,
        days=COUNTED_DAYS,
        may_run_models=identity.may(RUNS_MODELS),
        is_one=wanted is not None,
    )


def _version(
    one: Manifest, deployment: Deployment, default: Manifest, counted: dict[tuple[str, str, bool], int]
) -> dict[str, Any]:
    """A row of the table of versions: what the tenant does with it, and how many results it has made lately."""
    is_active = deployment.active == one.version or (deployment.active == DEFAULT and one is default)
    return {
        "version": one.version,
        "is_built_in": is_built_in(one),
        "clearance_status": one.clearance_status,
        "is_active": is_active,
        "canary_percent": deployment.canary_percent if deployment.canary == one.version else None,
        "is_shadow": deployment.shadow == one.version,
        "delivered": counted.get((one.name, one.version, False), 0),
        "in_shadow": counted.get((one.name, one.version, True), 0),
    }


def _counted(conn: Connection, tenant: str) -> dict[tuple[str, str, bool], int]:
    """(model, version, in shadow) → results of the last `COUNTED_DAYS` days."""
    rows = conn.execute(
        """SELECT model_name, model_version, is_shadow, count(*) AS results FROM result
           WHERE tenant = %s AND created_at > now() - make_interval(days => %s) GROUP BY 1, 2, 3""",
        (tenant, COUNTED_DAYS),
    ).fetchall()
    return {(row["model_name"], row["model_version"], row["is_shadow"]): row["results"] for row in rows}


def _card(manifest: Manifest) -> list[Block]:
    """The model card's text; empty when the model brings none."""
    return blocks(_text(manifest, manifest.card_file))


def _licence(manifest: Manifest) -> str:
    return _text(manifest, manifest.licence_file) if manifest.licence_file else ""


def _text(manifest: Manifest, name: str) -> str:
    try:
        return (manifest.folder / name).read_text("utf-8", errors="replace")[:CARD_SIZE_MAX]
    except OSError:
        return ""


def _evaluation(manifest: Manifest) -> list[tuple[str, str]]:
    """(name, value) of each number in the evaluation file, nested names joined; lists are for the card."""
    if not manifest.evaluation_file:
        return []
    try:
        values = json.loads((manifest.folder / manifest.evaluation_file).read_text("utf-8"))
    except (OSError, ValueError):
        return []
    return list(_flat(values, ""))[:80]


def _flat(values: Any, name: str) -> list[tuple[str, str]]:
    if isinstance(values, dict):
        return [
            row
            for key, value in values.items()
            for row in _flat(value, f"{name} › {key}".strip(" ›").replace("_", " "))
        ]
    if isinstance(values, bool | str | int) and name:
        return [(name, str(values)[:300])]
    if isinstance(values, float):
        return [(name, f"{values:.4g}")]
    return []
