"""Workitems, who watches them and what they are told, in PostgreSQL. In the caller's transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from dicom_gateway.dicom_json import DataSet, element
from dicom_gateway.workitem import STATE, State
from dicom_gateway.workitem_search import Search, read_search
from pipeline.database import Connection

Row = dict[str, Any]

OPEN_MAX = 10_000
"""Workitems of a tenant that are neither completed nor cancelled."""
SUBSCRIPTIONS_MAX = 1_000
NOTICES_MAX = 1_000
"""Of one subscriber; older ones make room."""
STATE_REPORT, CANCEL_REQUESTED, PROGRESS_REPORT = 1, 2, 3


def insert(
    conn: Connection,
    tenant: str,
    uid: str,
    attributes: DataSet,
    *,
    ae_title: str,
    is_ours: bool,
    study_instance_uid: str | None,
    work_source: str | None = None,
    transaction_uid: str | None = None,
) -> bool:
    """Add a workitem; False when one of this UID is there. transaction_uid: by which we are about to claim it."""
    added = conn.execute(
        """INSERT INTO workitem (tenant, uid, ae_title, attributes, is_ours, study_instance_uid, work_source,
             transaction_uid) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING""",
        (tenant, uid, ae_title, Jsonb(attributes), is_ours, study_instance_uid, work_source, transaction_uid),
    )
    return added.rowcount == 1


def open_count(conn: Connection, tenant: str) -> int:
    row = conn.execute(
        "SELECT count(*) AS n FROM workitem WHERE tenant = %s AND state IN ('SCHEDULED', 'IN PROGRESS')",
        (tenant,),
    ).fetchone()
    return int(row["n"]) if row else 0


def find(conn: Connection, tenant: str, uid: str, *, lock: bool = False) -> Row | None:
    """lock: held until the transaction ends."""
    query = "SELECT * FROM workitem WHERE tenant = %s AND uid = %s"
    if lock:
        query += " FOR UPDATE"
    return conn.execute(query, (tenant, uid)).fetchone()


def save(conn: Connection, row: Row, attributes: DataSet) -> None:
    conn.execute(
        "UPDATE workitem SET attributes = %s, updated_at = now() WHERE tenant = %s AND uid = %s",
        (Jsonb(attributes), row["tenant"], row["uid"]),
    )


def set_state(
    conn: Connection, row: Row, state: State, transaction_uid: str | None, *, here: bool = False
) -> None:
    """Move a locked workitem and tell those who watch it. here: we perform it."""
    conn.execute(
        """UPDATE workitem SET state = %(state)s, transaction_uid = coalesce(%(transaction)s, transaction_uid),
             performed_here = performed_here OR %(here)s, updated_at = now(),
             claimed_at = CASE WHEN %(state)s = 'IN PROGRESS' THEN now() ELSE claimed_at END,
             attributes = jsonb_set(attributes, %(path)s, %(element)s)
           WHERE tenant = %(tenant)s AND uid = %(uid)s""",
        {
            "state": state.value, "transaction": transaction_uid, "here": here, "path": [STATE],
            "element": Jsonb(element("CS", state.value)), "tenant": row["tenant"], "uid": row["uid"],
        },
    )  # fmt: skip
    notify(conn, row, STATE_REPORT, {STATE: element("CS", state.value)})


def set_study(conn: Connection, row: Row, study_id: UUID) -> None:
    conn.execute(
        "UPDATE workitem SET study_id = %s WHERE tenant = %s AND uid = %s",
        (study_id, row["tenant"], row["uid"]),
    )


def others_want(conn: Connection, row: Row) -> bool:
    """Whether we perform another workitem on the same study."""
    other = conn.execute(
        """SELECT 1 FROM workitem WHERE tenant = %s AND study_instance_uid = %s AND uid <> %s
             AND state = 'IN PROGRESS' AND performed_here LIMIT 1""",
        (row["tenant"], row["study_instance_uid"], row["uid"]),
    ).fetchone()
    return other is not None


def search(conn: Connection, tenant: str, wanted: Search) -> list[Row]:
    """What matches, oldest first. State and UID are narrowed by the database, the rest is read row by row."""
    found: list[Row] = []
    skipped = 0
    last: tuple[datetime, str] | None = None
    while len(found) < wanted.limit:
        page = conn.execute(
            """SELECT uid, state, attributes, created_at FROM workitem
               WHERE tenant = %(tenant)s AND (%(state)s = '' OR state = %(state)s)
                 AND (%(uid)s = '' OR uid = ANY(string_to_array(%(uid)s, ',')))
                 AND (%(at)s::timestamptz IS NULL OR (created_at, uid) > (%(at)s, %(last)s))
               ORDER BY created_at, uid LIMIT 500""",
            {
                "tenant": tenant,
                "state": wanted.value_of(STATE),
                "uid": wanted.value_of("00080018").replace("\\", ","),
                "at": last[0] if last else None,
                "last": last[1] if last else "",
            },
        ).fetchall()
        for row in page:
            if wanted.matches(row["attributes"]):
                skipped += 1
                if skipped > wanted.offset and len(found) < wanted.limit:
                    found.append(row)
        if len(page) < 500:
            break
        last = page[-1]["created_at"], page[-1]["uid"]
    return found


def subscribe(
    conn: Connection, tenant: str, ae_title: str, uid: str | None, filters: list[tuple[str, str]], lock: bool
) -> bool:
    """Watch a workitem, or with None all that match; False when this peer has too many subscriptions."""
    row = conn.execute(
        "SELECT count(*) AS n FROM workitem_subscription WHERE tenant = %s AND ae_title = %s",
        (tenant, ae_title),
    ).fetchone()
    if row is not None and row["n"] >= SUBSCRIPTIONS_MAX:
        return False
    conn.execute(
        """INSERT INTO workitem_subscription (tenant, ae_title, uid, filter, deletion_lock)
           VALUES (%s, %s, %s, %s, %s) ON CONFLICT (tenant, ae_title, uid)
           DO UPDATE SET filter = excluded.filter, deletion_lock = excluded.deletion_lock""",
        (tenant, ae_title, uid, Jsonb(filters), lock),
    )
    return True


def unsubscribe(conn: Connection, tenant: str, ae_title: str, uid: str | None) -> bool:
    gone = conn.execute(
        "DELETE FROM workitem_subscription WHERE tenant = %s AND ae_title = %s AND uid IS NOT DISTINCT FROM %s",
        (tenant, ae_title, uid),
    )
    return gone.rowcount == 1


def unsubscribe_all(conn: Connection, tenant: str, ae_title: str) -> None:
    """The end of a subscription to all: those to single workitems, which it made, end too (PS3.4 CC.2.3.3)."""
    conn.execute("DELETE FROM workitem_subscription WHERE tenant = %s AND ae_title = %s", (tenant, ae_title))


def keep_single(conn: Connection, tenant: str, ae_title: str) -> bool:
    """Turn a subscription to all into one to each open workitem that it covers; False when there is none."""
    gone = conn.execute(
        """DELETE FROM workitem_subscription WHERE tenant = %s AND ae_title = %s AND uid IS NULL
           RETURNING filter, deletion_lock""",
        (tenant, ae_title),
    ).fetchone()
    if gone is None:
        return False
    for state in ("SCHEDULED", "IN PROGRESS"):
        keys = [(name, value) for name, value in gone["filter"] if name != "ProcedureStepState"]
        for row in search(conn, tenant, read_search([*keys, ("ProcedureStepState", state)])):
            subscribe(conn, tenant, ae_title, row["uid"], [], gone["deletion_lock"])
    return True


def notify(conn: Connection, row: Row, kind: int, said: DataSet) -> int:
    """Keep an event for each who watches the workitem; returns how many do."""
    watchers = conn.execute(
        """SELECT ae_title, uid, filter FROM workitem_subscription
           WHERE tenant = %s AND (uid IS NULL OR uid = %s)""",
        (row["tenant"], row["uid"]),
    ).fetchall()
    interested = {
        one["ae_title"]
        for one in watchers
        if one["uid"] is not None
        or read_search([(name, value) for name, value in one["filter"]]).matches(row["attributes"])
    }
    for ae_title in sorted(interested):
        tell(conn, row, ae_title, kind, said)
    return len(interested)


def tell(conn: Connection, row: Row, ae_title: str, kind: int, said: DataSet) -> None:
    """Keep an event for one subscriber; beyond `NOTICES_MAX` the oldest are forgotten."""
    conn.execute(
        "INSERT INTO workitem_notice (tenant, ae_title, uid, kind, said) VALUES (%s, %s, %s, %s, %s)",
        (row["tenant"], ae_title, row["uid"], kind, Jsonb(said)),
    )
    conn.execute(
        """DELETE FROM workitem_notice WHERE tenant = %(tenant)s AND ae_title = %(ae)s AND id <=
           (SELECT id FROM workitem_notice WHERE tenant = %(tenant)s AND ae_title = %(ae)s
            ORDER BY id DESC OFFSET %(kept)s LIMIT 1)""",
        {"tenant": row["tenant"], "ae": ae_title, "kept": NOTICES_MAX},
    )


def notices(conn: Connection, tenant: str, ae_title: str, limit: int = 100) -> list[Row]:
    """What waits for this subscriber, oldest first: id, uid, kind, said."""
    return conn.execute(
        """SELECT id, uid, kind, said FROM workitem_notice WHERE tenant = %s AND ae_title = %s
           ORDER BY id LIMIT %s""",
        (tenant, ae_title, limit),
    ).fetchall()


def forget_notice(conn: Connection, tenant: str, notice_id: int) -> None:
    """It was sent."""
    conn.execute("DELETE FROM workitem_notice WHERE tenant = %s AND id = %s", (tenant, notice_id))
