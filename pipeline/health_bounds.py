"""The bounds of the health rules as a tenant has set them; what it has not set is the default."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from datetime import datetime

from pipeline import audit
from pipeline.database import Connection
from pipeline.errors import BoundInvalid
from pipeline.health_rules import Bounds

_COUNTS = frozenset({"studies_min", "verdicts_min", "group_min", "failures_min"})
_COUNT_MIN = 10
_VALUE_MAX = 1e6


def bounds_of(conn: Connection, tenant: str) -> Bounds:
    """The defaults with what the tenant has set."""
    rows = conn.execute("SELECT name, value FROM model_bound WHERE tenant = %s", (tenant,)).fetchall()
    known = asdict(Bounds())
    changed = {row["name"]: type(known[row["name"]])(row["value"]) for row in rows if row["name"] in known}
    return replace(Bounds(), **changed)


def set_bound(
    conn: Connection, tenant: str, name: str, value: float | None, *, by: str, now: datetime
) -> None:
    """Change one bound, or take the default again (None). Raises `BoundInvalid`.

    Numbers of cases cannot be set so low that chance raises alarms.
    """
    if name not in asdict(Bounds()):
        raise BoundInvalid(f"no bound is called {name[:40]!r}; there are {', '.join(asdict(Bounds()))}")
    if value is None:
        conn.execute("DELETE FROM model_bound WHERE tenant = %s AND name = %s", (tenant, name))
    else:
        _require_sense(name, value)
        conn.execute(
            """INSERT INTO model_bound (tenant, name, value, changed_by, changed_at) VALUES (%s, %s, %s, %s, %s)
               ON CONFLICT (tenant, name) DO UPDATE SET value = excluded.value, changed_by = excluded.changed_by,
                   changed_at = excluded.changed_at""",
            (tenant, name, value, by, now),
        )
    audit.record(conn, tenant, audit.AuditEvent.MODEL_RULE_CHANGED, {"bound": name, "value": value, "by": by})


def _require_sense(name: str, value: float) -> None:
    if not math.isfinite(value) or not 0 < value <= _VALUE_MAX:
        raise BoundInvalid(f"{name} must be above 0 and at most {_VALUE_MAX:g}")
    if name in _COUNTS and (value != int(value) or value < _COUNT_MIN):
        raise BoundInvalid(f"{name} must be a whole number of {_COUNT_MIN} or more: fewer cases say nothing")
