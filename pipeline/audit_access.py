"""Who saw or changed what: events of access, appended together and before the answer goes out.

The chain has one end, which each append locks. So those who come while one writes wait, and the next writes for all of
them in one statement and one commit: a page waits for two commits at most, however many are seen at once.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any
from uuid import UUID

from pipeline.audit import AuditEvent, detail_text
from pipeline.database import Database

REPEATS_S = 60.0
_BATCH_MAX = 500
_REMEMBERED_MAX = 10_000

Entry = tuple[str, AuditEvent, dict[str, Any]]
"""(tenant, event, detail)"""


def record_access(
    database: Database,
    tenant: str,
    user: str,
    event: AuditEvent,
    study_id: UUID | str | None = None,
    *,
    host: str = "",
    **detail: Any,
) -> None:
    """Append one access in a transaction of its own. Raises what the database raises: without a trace no access."""
    append(database, [(tenant, event, access_detail(user, study_id, host=host, **detail))])


def access_detail(
    user: str, study_id: UUID | str | None = None, *, host: str = "", **detail: Any
) -> dict[str, Any]:
    """user: name in the portal, or of the API key. study_id: ours, never a UID of DICOM. No patient data."""
    return {"user": user, "host": host, "study": str(study_id) if study_id else "", **detail}


def append(database: Database, entries: list[Entry]) -> None:
    """Append all in one statement, of whatever tenants."""
    events = [
        {
            "tenant": tenant,
            "event": event.event,
            "action": event.action,
            "outcome": event.outcome,
            "detail": detail_text(detail),
        }
        for tenant, event, detail in entries
    ]
    with database.system_transaction() as conn:
        conn.execute("SELECT append_audit_events(%s)", (json.dumps(events),))


class AccessTrail:
    """Appends for many threads. What one person repeats within `REPEATS_S`, as a page that follows a study does, or
    a viewer that loads slice after slice, is one event.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._waiting: list[tuple[Entry, Future[None]]] = []
        self._seen: OrderedDict[str, float] = OrderedDict()

    def record(self, tenant: str, event: AuditEvent, detail: dict[str, Any], *, folds: bool = False) -> None:
        """Return when the event is on disk. Raises what the database raises.

        folds: the same event within `REPEATS_S` is not written again.
        """
        key = f"{tenant} {event.action} {detail_text(detail)}"
        if folds and self._is_repeated(key):
            return
        done: Future[None] = Future()
        with self._lock:
            self._waiting.append(((tenant, event, detail), done))
        while not done.done():
            with self._writing:
                if not done.done():
                    self._write()
        done.result()
        if folds:
            self._remember(key)

    def _write(self) -> None:
        with self._lock:
            batch, self._waiting = self._waiting[:_BATCH_MAX], self._waiting[_BATCH_MAX:]
        try:
            append(self._database, [entry for entry, _ in batch])
        except Exception as error:  # each of those who wait raises it
            for _, done in batch:
                done.set_exception(error)
            return
        for _, done in batch:
            done.set_result(None)

    def _is_repeated(self, key: str) -> bool:
        with self._lock:
            at = self._seen.get(key)
            return at is not None and self._clock() - at < REPEATS_S

    def _remember(self, key: str) -> None:
        with self._lock:
            self._seen[key] = self._clock()
            self._seen.move_to_end(key)
            while len(self._seen) > _REMEMBERED_MAX:
                self._seen.popitem(last=False)
