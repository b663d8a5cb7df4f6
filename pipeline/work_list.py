"""The work list in the tables: what needs a person first, then the newest. A page of it is one walk along an index.

What it says and sorts by is kept with each study by triggers (migration pipeline-0570), in the transaction that changes
the study or stores its result.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from pipeline.database import Connection, Database
from pipeline.status import StudyStatus
from pipeline.store import Row, StudyRecord

OVERDUE_AFTER = timedelta(minutes=30)
URGENT_FOR = timedelta(days=7)
TERMS_MAX = 8
"""Further words of a search are not looked for."""

# A transaction that changes a study may be seen this long after the instant that it has written.
_SETTLED_AFTER = timedelta(seconds=10)
_MOVING = ("receiving", "assembled", "routed", "decoded", "inferred", "encoded")


class View(StrEnum):
    """A part of the list that people work through."""

    ALL = "all"
    CRITICAL = "critical"
    """A critical finding that nobody has reviewed."""
    TO_READ = "to_read"
    """Delivered and not reviewed to the end."""
    IN_PROGRESS = "in_progress"
    PROBLEMS = "problems"
    """Refused, failed or held back by a limit: there is no result, for a reason. And what stands still until a person
    says process or discard."""
    REVIEWED = "reviewed"


_PROBLEMS = ("rejected", "failed", "held")
_ASKING = """s.id IN (SELECT a.study_id FROM arrival a
    WHERE a.tenant = %(tenant)s AND a.closed_at IS NULL AND a.decision ->> 'verdict' = 'ask')"""
_OF_VIEW = {
    View.CRITICAL: "s.urgency = 3",
    View.TO_READ: "s.status = 'delivered' AND s.review_state IN ('not_reviewed', 'in_review')",
    View.IN_PROGRESS: f"s.status IN {_MOVING} AND NOT {_ASKING}",
    View.PROBLEMS: f"(s.status IN {_PROBLEMS} OR {_ASKING})",
    View.REVIEWED: "s.review_state = 'reviewed'",
}


@dataclass(frozen=True)
class Filter:
    """What the list is narrowed to. search: words that must all be part of the patient's name or id, the accession
    number, the description, the Study Instance UID or our study id. since: received at or after this instant."""

    view: View = View.ALL
    status: str | None = None
    ae_title: str | None = None
    since: datetime | None = None
    search: str = ""


@dataclass(frozen=True)
class Place:
    """A place in the list: that of its study. A page begins behind one."""

    urgency: int
    created_at: datetime
    study_id: UUID


_COUNT = "SELECT s.status, count(*) AS studies FROM study s WHERE s.tenant = %(tenant)s"
_ASKING_BY_STATUS = f"{_COUNT} AND {_ASKING} GROUP BY s.status"
_LIST = """
    SELECT s.id, s.tenant, s.study_instance_uid, s.ae_title, s.status, s.revision, s.reason_code, s.reason_text,
           s.header, s.route, s.completion, s.created_at, s.updated_at, s.purpose, s.priority, s.finding_count,
           s.has_measures, s.worst_category, s.critical, s.review_state, s.is_overdue, s.urgency,
           (SELECT count(*) FROM instance i WHERE i.study_id = s.id) AS instance_count,
           (SELECT a.decision FROM arrival a
             WHERE a.tenant = s.tenant AND a.study_id = s.id AND a.closed_at IS NULL) AS waiting,
           (SELECT count(*) FROM arrival a
             WHERE a.study_id = s.id AND a.outcome = 'seen_again') AS seen_again_count
    FROM study s WHERE s.tenant = %(tenant)s"""


def list_studies(
    conn: Connection, tenant: str, wanted: Filter, *, limit: int, after: Place | None = None
) -> list[Row]:
    """Critical, emergency and overdue studies first, in this order; then and within each the newest first."""
    behind = (
        "(s.urgency, s.created_at, s.id) < (%(urgency)s, %(created_at)s, %(study_id)s)" if after else None
    )
    order = "s.urgency DESC, s.created_at DESC, s.id DESC"
    return _list(conn, tenant, wanted, behind, order, (vars(after) if after else {}) | {"limit": limit})


def newest_studies(
    conn: Connection, tenant: str, wanted: Filter, *, limit: int, before: datetime | None = None
) -> list[Row]:
    """The same rows for programs, by the moment of arrival alone."""
    behind = "s.created_at < %(before)s" if before else None
    return _list(conn, tenant, wanted, behind, "s.created_at DESC", {"before": before, "limit": limit})


def _list(
    conn: Connection, tenant: str, wanted: Filter, behind: str | None, order: str, values: dict[str, Any]
) -> list[Row]:
    """Only what is asked for stands in the query, so that each has the plan that fits it."""
    parts, asked = _where(wanted)
    where = "".join(f" AND {part}" for part in [*parts, *([behind] if behind else [])])
    query = f"{_LIST}{where} ORDER BY {order} LIMIT %(limit)s"
    return conn.execute(query, values | asked | {"tenant": tenant}).fetchall()


def _where(wanted: Filter) -> tuple[list[str], dict[str, Any]]:
    parts = [_OF_VIEW[wanted.view]] if wanted.view in _OF_VIEW else []
    values: dict[str, Any] = {"status": wanted.status, "ae_title": wanted.ae_title, "since": wanted.since}
    if wanted.status is not None:
        parts.append("s.status = %(status)s")
    if wanted.ae_title is not None:
        parts.append("s.ae_title = %(ae_title)s")
    if wanted.since is not None:
        parts.append("s.created_at >= %(since)s")
    for number, term in enumerate(_terms(wanted.search)):
        parts.append(f"strpos(s.search_text, search_form(%(term{number})s)) > 0")
        values[f"term{number}"] = term
    return parts, values


def _terms(search: str) -> list[str]:
    """The words of a search; names may be typed as they are shown, with a comma."""
    terms = [term for term in re.split(r"[\s,^=]+", search) if term]
    return terms[:TERMS_MAX] or ([search] if search else [])


def count_by_view(conn: Connection, tenant: str) -> tuple[dict[View, int], dict[str, int]]:
    """How many studies each view holds, and each status."""
    views, statuses = dict.fromkeys(View, 0), dict.fromkeys(StudyStatus, 0)
    for row in conn.execute(
        """SELECT status, urgency, review_state, count(*) AS studies FROM study WHERE tenant = %s
           GROUP BY status, urgency, review_state""",
        (tenant,),
    ):
        is_open = row["review_state"] in ("not_reviewed", "in_review")
        holds = {
            View.ALL: True,
            View.CRITICAL: row["urgency"] == 3,
            View.TO_READ: row["status"] == "delivered" and is_open,
            View.IN_PROGRESS: row["status"] in _MOVING,
            View.PROBLEMS: row["status"] in _PROBLEMS,
            View.REVIEWED: row["review_state"] == "reviewed",
        }
        for view in View:
            views[view] += row["studies"] if holds[view] else 0
        statuses[StudyStatus(row["status"])] += row["studies"]
    for row in conn.execute(_ASKING_BY_STATUS, {"tenant": tenant}):
        views[View.IN_PROGRESS] -= row["studies"] if row["status"] in _MOVING else 0
        views[View.PROBLEMS] += row["studies"] if row["status"] not in _PROBLEMS else 0
    return views, {status.value: count for status, count in statuses.items() if count}


def version(conn: Connection, tenant: str) -> tuple[str, bool]:
    """A text that changes with the list, and whether it is settled: then the same text means the same list.

    Three short walks along indexes, whatever the number of studies. Shortly after a change another one, written before,
    may still become visible.
    """
    row = conn.execute(
        """SELECT changed_at, changed_at < clock_timestamp() - %(settled)s AS is_settled,
                  (SELECT jsonb_agg(jsonb_build_array(id, new_count, decision) ORDER BY id)::text FROM arrival
                    WHERE tenant = %(tenant)s AND closed_at IS NULL) AS arriving,
                  (SELECT max(closed_at) FROM arrival WHERE tenant = %(tenant)s) AS arrived_at
           FROM study WHERE tenant = %(tenant)s ORDER BY changed_at DESC LIMIT 1""",
        {"tenant": tenant, "settled": _SETTLED_AFTER},
    ).fetchone()
    if row is None:
        return "empty", True
    text = f"{row['changed_at']} {row['arriving']} {row['arrived_at']}"
    return hashlib.sha256(text.encode()).hexdigest()[:16], row["is_settled"]


def note_result(
    conn: Connection, study: StudyRecord, product: str, *, worst_category: str | None, critical: list[str]
) -> None:
    """What the list says of a model's result; call it where the result's report is made."""
    conn.execute(
        """UPDATE result SET worst_category = %s, critical = %s
           WHERE tenant = %s AND study_id = %s AND revision = %s AND product = %s""",
        (worst_category, critical, study.tenant, study.id, study.revision, product),
    )


def look_after(database: Database, *, now: datetime) -> None:
    """Mark what has stood still for too long, and let what was urgent and never reviewed go back to its day."""
    with database.system_transaction() as conn:
        tenants = [row["tenant"] for row in conn.execute("SELECT tenant FROM every_tenant()")]
    for tenant in tenants:
        with database.transaction(tenant) as conn:
            conn.execute(
                """UPDATE study SET is_overdue = true WHERE tenant = %(tenant)s AND id IN
                     (SELECT id FROM study WHERE tenant = %(tenant)s
                        AND status IN ('receiving', 'assembled', 'routed', 'decoded', 'inferred', 'encoded')
                        AND NOT is_overdue AND priority <> 'off_peak' AND purpose <> 'prior'
                        AND updated_at < %(before)s
                      FOR UPDATE SKIP LOCKED)""",
                {"tenant": tenant, "before": now - OVERDUE_AFTER},
            )
            conn.execute(
                """UPDATE study SET urgency_lapsed = true WHERE tenant = %(tenant)s AND id IN
                     (SELECT id FROM study WHERE tenant = %(tenant)s AND urgency > 0 AND updated_at < %(before)s
                      FOR UPDATE SKIP LOCKED)""",
                {"tenant": tenant, "before": now - URGENT_FOR},
            )
