"""Associations of processes that ended without a word: a machine that lost its power, a gateway that was killed.

A worker looks after them each minute. What they brought waits for them to go on no longer than after other lost ones.
"""

from __future__ import annotations

import logging
from datetime import timedelta

import procrastinate

from pipeline.database import Database
from pipeline.look_again import look_after_association

log = logging.getLogger("radmeter.pipeline")

# After a database that was away every process says again that it is there, each in its own time.
GONE_AFTER = timedelta(minutes=2)
# Of a process whose name is not known nothing else can be said.
UNNAMED_GONE_AFTER = timedelta(days=1)
_AT_ONCE_MAX = 1000


def close_lost(database: Database, queue: procrastinate.App, tenant: str) -> int:
    """End them as lost and look at what arrived by them; how many there were."""
    with database.transaction(tenant) as conn:
        rows = conn.execute(
            """UPDATE association SET closed_at = now(), how = 'lost' WHERE tenant = %(tenant)s AND id IN (
                   SELECT a.id FROM association a LEFT JOIN node n ON n.name = a.node
                   WHERE a.tenant = %(tenant)s AND a.closed_at IS NULL AND a.opened_at < now() - %(gone)s
                     AND (n.name IS NULL OR n.seen_at < clock_timestamp() - %(gone)s)
                     AND (a.node IS NOT NULL OR a.opened_at < now() - %(unnamed)s)
                   ORDER BY a.id LIMIT %(most)s)
               RETURNING id""",
            {"tenant": tenant, "gone": GONE_AFTER, "unnamed": UNNAMED_GONE_AFTER, "most": _AT_ONCE_MAX},
        ).fetchall()
        for row in rows:
            look_after_association(queue, conn, tenant, row["id"])
    if rows:
        log.warning("associations_lost", extra={"tenant": tenant, "count": len(rows)})
    return len(rows)
