"""Health of the models: figures against a reference, plots, groups, alarms; pausing a model and letting it go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Form, Path, Query, Request, Response
from fastapi.responses import RedirectResponse

from pipeline import health_store, heartbeat, model_pause
from pipeline.database import Connection
from pipeline.errors import NotPaused
from pipeline.health_figures import SMALLEST_GROUP, Health, Key, calibration, group_rows
from pipeline.health_store import SHOWN_DAYS
from pipeline.health_view import figure_rows, share
from pipeline.heartbeat_pulse import pulse
from pipeline.queue import defer_step
from portal.context import RUNS_MODELS, Identity
from portal.errors import ActionConflict, PageNotFound
from portal.render import page
from portal.requests import Context, signed_in
from portal.text import Translate, translator

router = APIRouter(include_in_schema=False)

Operator = Annotated[Identity, Depends(signed_in(RUNS_MODELS))]
Name = Annotated[str, Query(max_length=100)]
Typed = Annotated[str, Form(max_length=100)]
# What a rule looks at, by the first part of its name; the sentence beside it tells the figures.
RULE_WORDS = {
    "score_drift": "Scores have changed",
    "input_drift": "The input has changed",
    "positive_rate": "Share of findings has changed",
    "refusal_rate": "Share of refusals has changed",
    "failure_rate": "Too many failures",
    "concordance": "Verdicts often reject",
    "calibration": "Scores and verdicts differ",
    "fairness": "Verdicts differ between groups",
    "latency": "Slower than before",
    "volume": "Fewer studies than before",
}
Kind = Literal["volume", "positives", "scores", "calibration"]


@router.get("/models/health")
def show(
    request: Request,
    context: Context,
    identity: Operator,
    product: Name = "",
    version: Name = "",
    site: Name = "",
) -> Response:
    """One version at one site; the first that there is where none is named."""
    last = _today()
    with context.database.transaction(identity.tenant) as conn:
        keys = health_store.keys(conn, identity.tenant, last=last)
        key = Key(product, version, site)
        if key not in keys:
            if product:
                raise PageNotFound
            key = keys[0] if keys else key
        values = _values(conn, identity.tenant, key, last) if keys else {}
    with context.database.transaction(heartbeat.TENANT) as conn:
        values |= {"pulse": pulse(conn), "stages": heartbeat.STAGES}
    return page(request, "model_health.html", keys=keys, chosen=key, shown_days=SHOWN_DAYS, **values)


def _values(conn: Connection, tenant: str, key: Key, last: date) -> dict[str, Any]:
    health = health_store.health_of(conn, tenant, key, last=last)
    alarms = health_store.recent_alarms(conn, tenant, key.product)
    at_work = {row["rule"] for row in alarms if row["cleared_at"] is None and _is_of(row, key)}
    return {
        "health": health,
        "rows": [(row, any(rule.startswith(row.rule) for rule in at_work)) for row in figure_rows(health)],
        "inputs": _inputs(health),
        "refusals": sorted(health.now.of("refusal").items(), key=lambda one: -one[1]),
        "groups": group_rows(health.now),
        "share": share,
        "smallest_group": SMALLEST_GROUP,
        "score_dimensions": health.now.said_dimensions(),
        "has_verdicts": bool(calibration(health.now)),
        "alarms": alarms,
        "rule_words": lambda rule: RULE_WORDS.get(rule.split(":")[0], rule),
        "pauses": model_pause.list_pauses(conn, tenant, key.product),
    }


def _is_of(row: dict[str, Any], key: Key) -> bool:
    return bool(row["model_version"] == key.version and row["site"] == key.site)


@dataclass(frozen=True)
class InputRow:
    """One value of a header and how large its share is, now and in the reference (None: no reference)."""

    dimension: str
    value: str
    now: str
    before: str | None


def _inputs(health: Health) -> list[InputRow]:
    rows = []
    for dimension in ("thickness", "slices", "kernel", "vendor"):
        before = health.before
        values = {*health.now.of(dimension), *(before.of(dimension) if before else ())}
        for value in sorted(values, key=lambda one: (-health.now.number(dimension, one), one))[:8]:
            was = None if before is None else share(before.share(dimension, value))
            rows.append(InputRow(dimension, value, share(health.now.share(dimension, value)), was))
    return rows


@router.get("/models/health/{product}/plot.png")
def plot(
    context: Context,
    identity: Operator,
    product: Annotated[str, Path(max_length=100)],
    kind: Kind = "volume",
    version: Name = "",
    site: Name = "",
    of: Name = "score",
    dark: bool = False,
) -> Response:
    """One plot on a light or a dark ground."""
    last, key = _today(), Key(product, version, site)
    words = translator(identity.language)
    with context.database.transaction(identity.tenant) as conn:
        if key not in health_store.keys(conn, identity.tenant, last=last, product=product):
            raise PageNotFound
        draw = _drawing(conn, identity.tenant, key, kind, of, last)
    return Response(
        draw(dark, words), media_type="image/png", headers={"Cache-Control": "private, max-age=300"}
    )


def _drawing(
    conn: Connection, tenant: str, key: Key, kind: Kind, of: str, last: date
) -> Callable[[bool, Translate], bytes]:
    """Reads what a plot needs; the drawing itself waits for nobody's transaction."""
    # Not at the top: other pages have no use for the memory of matplotlib.
    from portal import health_plots as plots

    def theme(dark: bool) -> plots.Theme:
        return plots.DARK if dark else plots.LIGHT

    if kind in ("volume", "positives"):
        first = last - timedelta(days=SHOWN_DAYS)
        dimension, drawn = ("status", plots.volume) if kind == "volume" else ("positive", plots.positives)
        days = health_store.daily(conn, tenant, key, first=first, last=last, dimension=dimension)
        return lambda dark, words: drawn(days, theme(dark), words)
    health = health_store.health_of(conn, tenant, key, last=last)
    if kind == "calibration":
        tenths = calibration(health.now)
        return lambda dark, words: plots.calibration(tenths, theme(dark), words)
    return lambda dark, words: plots.scores(health.now, health.before, of, theme(dark), words)


@router.post("/models/health/pause")
def pause(
    context: Context,
    identity: Operator,
    product: Typed,
    reason: Annotated[str, Form(min_length=1, max_length=500)],
    site: Typed = "",
) -> Response:
    """New studies are refused with the reason; what is under way ends."""
    with context.database.transaction(identity.tenant) as conn:
        if product not in {key.product for key in health_store.keys(conn, identity.tenant, last=_today())}:
            raise PageNotFound
        made = model_pause.pause(
            conn, identity.tenant, product, site, reason=reason, by=identity.user_name, now=datetime.now(UTC)
        )
    if not made:
        raise ActionConflict("It is paused already.")
    return RedirectResponse("/models/health", 303)


@router.post("/models/health/resume")
def resume(context: Context, identity: Operator, product: Typed, site: Typed = "") -> Response:
    """What was refused for the pause is analysed now."""
    try:
        with context.database.transaction(identity.tenant) as conn:
            model_pause.resume(
                conn, identity.tenant, product, site, by=identity.user_name, now=datetime.now(UTC),
                defer_step=lambda conn, study: defer_step(context.queue, conn, study),
            )  # fmt: skip
    except NotPaused:
        raise ActionConflict("It is not paused.") from None
    return RedirectResponse("/models/health", 303)


def _today() -> date:
    return datetime.now(UTC).date()
