"""What stands in where a destination refuses a kind of object: no result is lost for one SOP class.

The SR says everything that SEG, maps, key images and pictures show. So what is refused beside an SR that was taken is
made up for by it; where the SR itself is refused, the destination's order of fall-backs says what is sent in its place.
"""

from __future__ import annotations

from pipeline import store
from pipeline.database import Connection
from pipeline.destinations import DestinationRecord
from pipeline.store import Row, StudyRecord

KEPT, GIVEN_UP = ("acknowledged", "confirmed"), ("refused", "dead", "replaced")


def settle(conn: Connection, study: StudyRecord, target: DestinationRecord, about: Row) -> None:
    """After an answer: send the next stand-in for what was refused, or mark it as replaced. The study is locked.

    about: product, revision and review of the set that the answered object belongs to.
    """
    rows = conn.execute(
        """SELECT o.sop_instance_uid, o.kind, d.state, d.required
           FROM result_object o LEFT JOIN delivery d
             ON d.tenant = o.tenant AND d.sop_instance_uid = o.sop_instance_uid AND d.destination = %s
           WHERE o.tenant = %s AND o.study_id = %s AND o.product = %s AND o.revision = %s AND o.review = %s
             AND o.event = %s""",
        (
            target.name,
            study.tenant,
            study.id,
            about["product"],
            about["revision"],
            about["review"],
            about["event"],
        ),
    ).fetchall()
    refused = [row for row in rows if row["state"] in ("refused", "replaced") and row["kind"] != "KOS"]
    if not refused:
        return
    kind, standing_in = _stand_in(rows, target)
    if kind is not None and all(row["state"] in KEPT for row in standing_in):
        _mark(conn, target, refused, "replaced", kind)
        return
    _mark(conn, target, refused, "refused", None)
    is_required = any(row["required"] for row in refused)
    missing = [row for row in standing_in if row["state"] is None]
    for row in missing:
        conn.execute(
            """INSERT INTO delivery (tenant, sop_instance_uid, destination, study_id, required)
               VALUES (%s, %s, %s, %s, %s)""",
            (study.tenant, row["sop_instance_uid"], target.name, study.id, is_required),
        )
    if missing:
        detail = {
            "destination": target.name,
            "kind": kind,
            "instead_of": sorted({one["kind"] for one in refused}),
        }
        store.note(conn, study, "delivery_falls_back", detail=detail)


def _stand_in(rows: list[Row], target: DestinationRecord) -> tuple[str | None, list[Row]]:
    """The kind that speaks for the whole result at this destination, and its objects; None when none is left."""
    for kind in ("SR", *target.stand_ins):
        of_kind = [row for row in rows if row["kind"] == kind]
        is_chosen = kind != "SR" or any(row["state"] is not None for row in of_kind)
        if of_kind and is_chosen and not any(row["state"] in GIVEN_UP for row in of_kind):
            return kind, of_kind
    return None, []


def _mark(
    conn: Connection, target: DestinationRecord, rows: list[Row], state: str, replaced_by: str | None
) -> None:
    conn.execute(
        """UPDATE delivery SET state = %s, replaced_by = %s
           WHERE tenant = %s AND destination = %s AND sop_instance_uid = ANY(%s)
             AND state IN ('refused', 'replaced')""",
        (state, replaced_by, target.tenant, target.name, [row["sop_instance_uid"] for row in rows]),
    )


def refused_kinds(conn: Connection, tenant: str) -> list[Row]:
    """By destination and kind: what it refuses, what stands there instead, how many objects, when the last one."""
    return conn.execute(
        """SELECT d.destination, o.kind, d.replaced_by, count(*) AS objects, max(d.next_at) AS last_at,
                  (array_agg(d.last_error ORDER BY d.next_at DESC))[1] AS last_error
           FROM delivery d JOIN result_object o USING (tenant, sop_instance_uid)
           WHERE d.tenant = %s AND d.state = 'replaced'
           GROUP BY d.destination, o.kind, d.replaced_by ORDER BY d.destination, o.kind""",
        (tenant,),
    ).fetchall()
