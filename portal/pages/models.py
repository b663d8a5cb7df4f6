"""Models: what is installed, what it is for, how well it did."""

from __future__ import annotations

import json
import logging
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from models.errors import ModelError
from models.manifest import Manifest
from models.registry import list_models
from portal.context import SEES_MODELS
from portal.markdown import Block, blocks
from portal.render import page
from portal.requests import Context, signed_in

log = logging.getLogger("radmeter.portal")

router = APIRouter(include_in_schema=False)

CARD_SIZE_MAX = 200_000


@router.get("/models", dependencies=[Depends(signed_in(SEES_MODELS))])
def show(request: Request, context: Context) -> Response:
    """A model that cannot be read must not hide the others' page: its problem is shown instead."""
    problem, manifests = "", []
    try:
        manifests = list_models(context.data_root)
    except ModelError as error:
        log.warning("model_unreadable", extra={"error": str(error)})
        problem = error.code
    shown = [
        {"manifest": manifest, "card": _card(manifest), "evaluation": _evaluation(manifest)}
        for manifest in manifests
    ]
    return page(request, "models.html", shown=shown, problem=problem)


def _card(manifest: Manifest) -> list[Block]:
    """The model card's text; empty when the model brings none."""
    try:
        text = (manifest.folder / "MODEL_CARD.md").read_text("utf-8", errors="replace")
    except OSError:
        return []
    return blocks(text[:CARD_SIZE_MAX])


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
