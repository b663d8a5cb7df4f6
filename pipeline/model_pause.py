"""A product that is paused at a site reads none of its studies until a person resumes it.

What is refused meanwhile says so, and is analysed when the product goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from pipeline import audit, store
from pipeline.database import Connection
from pipeline.errors import NotPaused
from pipeline.status import StudyStatus
from pipeline.store import StudyRecord

Row = dict[str, Any]
MODEL_PAUSED = "MODEL_PAUSED"
EVERYWHERE = ""
_TAKEN_UP_AT_ONCE = 1000


def pause(
    conn: Connection, tenant: str, product: str, site: str, *, reason: str, by: str, now: datetime
) -> bool:
    """Pause a product at a site, the empty one being all of them; False where it is paused there already."""
    made = conn.execute(
        """INSERT INTO model_pause (tenant, product, site, reason, paused_by, paused_at) VALUES (%s, %s, %s, %s, %s, %s)
           ON CONFLICT (tenant, product, site) WHERE resumed_at IS NULL DO NOTHING RETURNING id""",
        (tenant, product, site, reason, by, now),
    ).fetchone()
    if made is None:
        return False
    detail = {"product": product, "site": site, "reason": reason, "by": by}
    audit.record(conn, tenant, audit.AuditEvent.MODEL_PAUSED, detail)
    return True


def resume(
    conn: Connection,
    tenant: str,
    product: str,
    site: str,
    *,
    by: str,
    now: datetime,
    defer_step: Callable[[Connection, StudyRecord], None],
) -> int:
    """Let a product go on; the studies that were refused because of it are analysed. Returns how many.

    Raises `NotPaused`.
    """
    ended = conn.execute(
        """UPDATE model_pause SET resumed_by = %s, resumed_at = %s
           WHERE tenant = %s AND product = %s AND site = %s AND resumed_at IS NULL RETURNING paused_at""",
        (by, now, tenant, product, site),
    ).fetchone()
    if ended is None:
        raise NotPaused(product, site)
    taken_up = _take_up(conn, tenant, since=ended["paused_at"], defer_step=defer_step)
    detail = {"product": product, "site": site, "by": by, "studies": taken_up}
    audit.record(conn, tenant, audit.AuditEvent.MODEL_RESUMED, detail)
    return taken_up


def _take_up(
    conn: Connection, tenant: str, *, since: datetime, defer_step: Callable[[Connection, StudyRecord], None]
) -> int:
    """Route once more what was refused for a pause: where another pause still holds, it is refused again."""
    rows = conn.execute(
        """SELECT id FROM study WHERE tenant = %s AND status = 'rejected' AND reason_code = %s AND updated_at >= %s
           ORDER BY created_at LIMIT %s""",
        (tenant, MODEL_PAUSED, since, _TAKEN_UP_AT_ONCE),
    ).fetchall()
    taken_up = 0
    for row in rows:
        study = store.lock_study(conn, tenant, row["id"])
        if study.status is not StudyStatus.REJECTED or study.reason_code != MODEL_PAUSED:
            continue
        detail = {"after": "model_paused"}
        after = store.advance(conn, study, StudyStatus.ASSEMBLED, detail=detail, revision=study.revision + 1)
        defer_step(conn, after)
        taken_up += 1
    return taken_up


def paused_products(conn: Connection, tenant: str, site: str) -> dict[str, str]:
    """Product → the sentence that its refused studies show, for a study from this site."""
    rows = conn.execute(
        """SELECT product, reason, paused_by FROM model_pause
           WHERE tenant = %s AND site IN ('', %s) AND resumed_at IS NULL ORDER BY paused_at""",
        (tenant, site),
    ).fetchall()
    return {
        row["product"]: f"{row['product']} is paused by {row['paused_by']}: {row['reason']}. "
        "A study refused for this alone is analysed when it is resumed."
        for row in rows
    }


def list_pauses(conn: Connection, tenant: str, product: str, *, limit: int = 20) -> list[Row]:
    """Open ones first, then those that are over."""
    return conn.execute(
        """SELECT product, site, reason, paused_by, paused_at, resumed_by, resumed_at FROM model_pause
           WHERE tenant = %s AND product = %s ORDER BY resumed_at IS NOT NULL, paused_at DESC LIMIT %s""",
        (tenant, product, limit),
    ).fetchall()


def last_resumed(conn: Connection, tenant: str, product: str, site: str) -> datetime | None:
    """When a pause that covered the site last ended: what came before it pauses nothing a second time."""
    row = conn.execute(
        "SELECT max(resumed_at) AS at FROM model_pause WHERE tenant = %s AND product = %s AND site IN ('', %s)",
        (tenant, product, site),
    ).fetchone()
    return row["at"] if row else None
