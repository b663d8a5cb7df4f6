"""Old made-up studies are removed, files first, so that the heartbeat needs no more room tomorrow than today."""

from __future__ import annotations

from psycopg import sql

from pipeline.database import Connection, Database
from pipeline.heartbeat import STUDIES_KEPT, TENANT
from pipeline.protection.scopes import folders_of, instances_scope, study_scope
from pipeline.services import Folders

# Every table that refers to a study, in an order that may be deleted in. Nobody signs in to this tenant, so there are
# no verdicts and no links.
_OF_STUDY: tuple[str, ...] = (
    "delivery", "result_object", "result", "instance", "quarantined_instance", "arrival", "study_event",
    "archive_count", "archive_question", "longest_pause", "decoded_series", "prior_candidate", "prior_of",
    "study_facts", "study_progress", "workitem",
)  # fmt: skip
_DELETE = sql.SQL("DELETE FROM {} WHERE tenant = %s AND study_id = %s")
_BEATS_KEPT_DAYS = 30


def sweep(database: Database, folders: Folders, *, keep: int = STUDIES_KEPT) -> int:
    """Remove all but the newest `keep` studies of the heartbeat's tenant; returns how many went. Safe to repeat."""
    with database.transaction(TENANT) as conn:
        rows = conn.execute(
            """SELECT id, array(SELECT DISTINCT location FROM instance i
                                WHERE i.tenant = s.tenant AND i.study_id = s.id) AS locations
               FROM study s WHERE tenant = %s ORDER BY created_at DESC, id OFFSET %s""",
            (TENANT, keep),
        ).fetchall()
    for row in rows:
        # As they are sealed, so they lie: a folder of what was received, and one of what was made of it.
        scopes = {instances_scope(location) for location in row["locations"]}
        made = study_scope(row["id"])
        for name in (*scopes, *folders_of(made)):
            folders.objects.discard(folders.instances.parent / name)
        with database.transaction(TENANT) as conn:
            _forget(conn, row["id"], [*scopes, made])
    with database.transaction(TENANT) as conn:
        conn.execute(
            """DELETE FROM association a WHERE tenant = %s AND closed_at IS NOT NULL
               AND NOT EXISTS (SELECT 1 FROM arrival WHERE association_id = a.id)""",
            (TENANT,),
        )
        conn.execute(
            "DELETE FROM heartbeat WHERE tenant = %s AND ended_at < clock_timestamp() - make_interval(days => %s)",
            (TENANT, _BEATS_KEPT_DAYS),
        )
    return len(rows)


def _forget(conn: Connection, study_id: object, scopes: list[str]) -> None:
    for table in _OF_STUDY:
        conn.execute(_DELETE.format(sql.Identifier(table)), (TENANT, study_id))
    conn.execute("DELETE FROM study WHERE tenant = %s AND id = %s", (TENANT, study_id))
    conn.execute("DELETE FROM data_key WHERE tenant = %s AND scope = ANY(%s)", (TENANT, scopes))
