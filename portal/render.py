"""Jinja2 templates into responses."""

from __future__ import annotations

import gzip
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse

from billing.metering.usage import Kind, Purpose, UsageEvent
from billing.rating import explain
from pipeline import report_format
from pipeline.completion_text import sentence
from pipeline.reason_text import reason_text
from pipeline.status import StudyStatus
from portal.context import (
    EDITS_PEERS,
    EDITS_ROUTING,
    ISSUES_STATEMENTS,
    SEES_MONEY,
    SEES_STUDIES,
    Identity,
)
from portal.navigation import home_of, pages_of
from portal.requests import browser_language, portal_context
from portal.text import LANGUAGES, translator

_ROOT = Path(__file__).resolve().parent
# Reports and statements are printed and shown from one template, which lies with the code that fills it.
_TEMPLATE_FOLDERS = tuple(
    _ROOT.parent / package / "templates" for package in ("portal", "pipeline", "billing")
)

_SMALL_CHARACTERS = 4000

_ELSEWHERE = {
    StudyStatus.HELD,
    StudyStatus.SHADOWED,
    StudyStatus.REJECTED,
    StudyStatus.FAILED,
    StudyStatus.PRIOR,
    StudyStatus.ERASED,
}
STEPS = tuple(status for status in StudyStatus if status not in _ELSEWHERE)
# status → (word, icon, tone): never colour alone
STATUS_LOOK = {
    "receiving": ("Receiving", "arrow-in", "progress"),
    "assembled": ("Assembled", "clock", "progress"),
    "routed": ("Routed", "clock", "progress"),
    "held": ("Waiting for a limit", "clock", "warning"),
    "decoded": ("Decoded", "clock", "progress"),
    "inferred": ("Analysed", "clock", "progress"),
    "encoded": ("Encoded", "arrow-out", "progress"),
    "delivered": ("Delivered", "check", "good"),
    "shadowed": ("Shadow only", "file", "plain"),
    "rejected": ("Not analysed", "bar", "warning"),
    "failed": ("Failed", "cross", "bad"),
    "prior": ("Prior", "file", "plain"),
    "erased": ("Erased", "cross", "plain"),
}
DECISION_LOOK = {
    "billable": ("charged", "check", "good"),
    "not_billable": ("not charged", "bar", "plain"),
    "quarantined": ("held for review", "clock", "warning"),
}
KIND_WORDS = {
    "result_delivered": "result delivered",
    "seen_again": "seen again",
    "refused": "refused",
    "failed": "failed",
    "usage": "used",
    "outcome": "outcome",
    "void": "void",
}


def _kind_word(event: UsageEvent) -> str:
    """What happened. A result of a shadow run is recorded as any other, and was delivered nowhere."""
    if (event.kind, event.purpose) == (Kind.RESULT_DELIVERED, Purpose.SHADOW):
        return "shadow result"
    return KIND_WORDS[event.kind]


def _size(value: int) -> str:
    """Bytes as text with a binary unit, three significant digits."""
    amount = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.0f} {unit}" if amount >= 100 or unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError


def _duration(value: int | None) -> str:
    """Milliseconds as text."""
    if value is None:
        return ""
    return f"{value} ms" if value < 1000 else f"{value / 1000:.1f} s"


def _shortened(value: str | None, length_max: int) -> str:
    """Text of a header, which may be of any length, as a row of a table takes it."""
    text = value or ""
    return text if len(text) <= length_max else f"{text[: length_max - 1]}…"


@lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader([str(folder) for folder in _TEMPLATE_FOLDERS]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters.update(
        size=_size,
        duration=_duration,
        shortened=_shortened,
        dicom_date=lambda value: report_format.dicom_date(value or ""),
        person_name=lambda value: report_format.person_name(value or ""),
        plain=lambda value, absent=report_format.ABSENT: report_format.plain(value or "") or absent,
    )
    env.globals.update(
        STATUS_LOOK=STATUS_LOOK,
        DECISION_LOOK=DECISION_LOOK,
        kind_word=_kind_word,
        STEPS=[status.value for status in STEPS],
    )
    return env


def page(request: Request, template: str, *, status_code: int = 200, **values: Any) -> HTMLResponse:
    """Render a template with what every page needs: who is asking, the language, times in the local zone."""
    context = portal_context(request)
    identity: Identity | None = getattr(request.state, "identity", None)
    language = identity.language if identity else browser_language(request)
    zone = ZoneInfo(context.time_zone)

    def local(value: datetime | date | None) -> str:
        if isinstance(value, datetime):
            return value.astimezone(zone).strftime("%Y-%m-%d %H:%M")
        return value.isoformat() if value else ""

    html = (
        environment()
        .get_template(template)
        .render(
            request_path=request.url.path,
            identity=identity,
            navigation=pages_of(identity) if identity else [],
            home=home_of(identity) if identity else "/",
            may_edit_peers=identity is not None and identity.may(EDITS_PEERS),
            may_edit_routing=identity is not None and identity.may(EDITS_ROUTING),
            may_issue=identity is not None and identity.may(ISSUES_STATEMENTS),
            may_see_studies=identity is not None and identity.may(SEES_STUDIES),
            may_see_money=identity is not None and identity.may(SEES_MONEY),
            language=LANGUAGES[language],
            short_language=language,
            _=translator(language),
            local=local,
            clock=lambda value: value.astimezone(zone).strftime("%H:%M:%S"),
            iso=lambda value: value.astimezone(UTC).isoformat(timespec="seconds") if value else "",
            last_day=lambda end: end - timedelta(days=1),
            time_zone=context.time_zone,
            explained=lambda explanation: explain.line(explanation, language),
            reason=lambda code: explain.reason(code, language),
            why=lambda decision: explain.reason(decision.reason_code.value, language),
            unread_reason=lambda code, text: reason_text(code or "", text or "", language),
            completion_sentence=lambda decision: sentence(decision, language),
            static_version=request.app.state.static_version,
            **values,
        )
    )
    return _sent_small(request, html, status_code)


def _sent_small(request: Request, html: str, status_code: int) -> HTMLResponse:
    """Long pages go compressed. They hold no token, and no other site can have one sent with the session's cookie."""
    coding = request.headers.get("accept-encoding", "")
    if len(html) < _SMALL_CHARACTERS or "gzip" not in coding:
        return HTMLResponse(html, status_code, {"Vary": "Accept-Encoding"})
    body = gzip.compress(html.encode(), compresslevel=4, mtime=0)
    headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return HTMLResponse(body, status_code, headers)
