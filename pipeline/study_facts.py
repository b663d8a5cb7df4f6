"""What the routing saw of a study, kept small: enough to route it again when its images are long gone.

Images of a series that look alike to the routing are kept once, with their number. What is restored routes as the
original did; its instances have no place and no identity.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from pipeline.database import Connection
from pipeline.rule_keywords import Arrival
from pipeline.store import StudyRecord, study_key
from study.study import Instance, Patient, Series, Study

SERIES_MAX = 200
KINDS_MAX = 16
INSTANCES_MAX = 20_000
"""Bounds of what is kept of one study; a series beyond them is cut, never the study."""

# The sources and the fields of Instance that `route.choose` and the rules' keywords read.
_ROUTED_BY = ("image_type", "rows", "columns", "number_of_frames", "image_orientation", "slice_thickness_mm")


def summarize(study: Study, arrival: Arrival) -> dict[str, Any]:
    """The study as JSON values, patient data included."""
    values = {
        one.name: getattr(study, one.name) for one in fields(study) if one.name not in ("series", "patient")
    }
    return {
        "arrival": asdict(arrival) | {"at": arrival.at.isoformat()},
        "study": values,
        "patient": asdict(study.patient),
        "series": [_summarize_series(series) for series in study.series[:SERIES_MAX]],
    }


def _summarize_series(series: Series) -> dict[str, Any]:
    values = {one.name: getattr(series, one.name) for one in fields(series) if one.name != "instances"}
    kinds = Counter(tuple(getattr(one, name) for name in _ROUTED_BY) for one in series.instances)
    return values | {"images": [[count, *kind] for kind, count in kinds.most_common(KINDS_MAX)]}


def restore(facts: dict[str, Any]) -> tuple[Study, Arrival]:
    """The inverse of `summarize`, as far as routing can tell."""
    arrival = Arrival(**(facts["arrival"] | {"at": datetime.fromisoformat(facts["arrival"]["at"])}))
    left = INSTANCES_MAX
    series = []
    for number, values in enumerate(facts["series"]):
        one = _restore_series(dict(values), number, left)
        left -= len(one.instances)
        series.append(one)
    return Study(**facts["study"], patient=Patient(**facts["patient"]), series=tuple(series)), arrival


def _restore_series(values: dict[str, Any], number: int, instances_max: int) -> Series:
    instances: list[Instance] = []
    for count, *kind in values.pop("images"):
        seen: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in zip(_ROUTED_BY, kind, strict=True)
        }
        for _ in range(min(count, instances_max - len(instances))):
            instances.append(Instance(f"2.25.{number}.{len(instances)}", "2.25.1", "2.25.2", "", **seen))
    return Series(**values, instances=tuple(instances))


def save_facts(conn: Connection, study: StudyRecord, facts: dict[str, Any]) -> None:
    conn.execute(
        """INSERT INTO study_facts (tenant, study_id, facts) VALUES (%s, %s, %s)
           ON CONFLICT (tenant, study_id) DO UPDATE SET facts = excluded.facts, updated_at = now()""",
        (study.tenant, study.id, Jsonb(facts)),
    )


def load_facts(conn: Connection, tenant: str, study_id: str) -> dict[str, Any] | None:
    """None for a study that was never routed."""
    row = conn.execute(
        "SELECT facts FROM study_facts WHERE tenant = %s AND study_id = %s", (tenant, study_key(study_id))
    ).fetchone()
    return None if row is None else row["facts"]
