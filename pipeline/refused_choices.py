"""A model that cannot judge its series, while other models of the same study go on."""

from __future__ import annotations

from pipeline import store
from pipeline.database import Connection
from pipeline.errors import StudyRefused
from pipeline.models_for_study import is_trial
from pipeline.store import StudyRecord

Reason = tuple[str, str]
"""Code and sentence."""


def require_one_left(study: StudyRecord, refused: dict[str, Reason]) -> None:
    """Raise `StudyRefused` with the first reason where no model of the study is left. refused: by product.

    A version that runs in shadow beside a refused one is none: there is nothing that it could be compared with.
    """
    if refused and all(choice["product"] in refused or is_trial(choice) for choice in study.to_run):
        code, text = next(iter(refused.values()))
        raise StudyRefused(code, text)


def refuse_choices(conn: Connection, study: StudyRecord, refused: dict[str, Reason]) -> None:
    """Take what could not be judged out of what goes on. It stays visible: in the route, the timeline and the usage."""
    if not refused:
        return
    route = []
    for choice in study.route:
        code, text = refused.get(choice["product"], (None, None))
        route.append(choice if code is None else choice | {"refused": {"code": code, "text": text}})
        if code is not None:
            detail = {"product": choice["product"], "code": code, "reason": text}
            store.note(conn, study, "model_refused", detail=detail)
    store.set_route(conn, study, route)
