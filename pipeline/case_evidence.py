"""What proves that a result was made and delivered, for those who look at money: no patient data, no UIDs."""

from __future__ import annotations

from pipeline.database import Connection
from pipeline.store import Row


def runs(conn: Connection, tenant: str, study_id: str, product: str) -> list[Row]:
    """model_name, model_version, weights_sha256, revision, created_at of each run of a product; not what it found."""
    return conn.execute(
        """SELECT model_name, model_version, weights_sha256, revision, created_at
           FROM result WHERE tenant = %s AND study_id::text = %s AND product = %s ORDER BY revision""",
        (tenant, study_id, product),
    ).fetchall()


def acknowledgements(conn: Connection, tenant: str, study_id: str, product: str) -> list[Row]:
    """Each object at each destination: kind, revision, sha256, destination, state, attempts and when it was taken."""
    return conn.execute(
        """SELECT o.kind, o.revision, o.sha256, d.destination, d.state, d.attempts, d.acknowledged_at,
                  d.confirmed_at, d.confirmed_by
           FROM result_object o JOIN delivery d USING (tenant, sop_instance_uid)
           WHERE o.tenant = %s AND o.study_id::text = %s AND o.product = %s
           ORDER BY o.revision, o.kind, d.destination""",
        (tenant, study_id, product),
    ).fetchall()


def series_read(conn: Connection, tenant: str, study_id: str, product: str) -> list[Row]:
    """modality and instance_count of each series that the present revision's run of the product reads."""
    return conn.execute(
        """SELECT min(i.modality) AS modality, count(*) AS instance_count
           FROM study s
           CROSS JOIN LATERAL jsonb_to_recordset(s.route) AS choice (product text, series_instance_uid text)
           JOIN instance i ON i.tenant = s.tenant AND i.study_id = s.id
               AND i.series_instance_uid = choice.series_instance_uid
           WHERE s.tenant = %s AND s.id::text = %s AND choice.product = %s
           GROUP BY i.series_instance_uid ORDER BY count(*) DESC""",
        (tenant, study_id, product),
    ).fetchall()


def times(conn: Connection, tenant: str, study_id: str) -> list[Row]:
    """When the first image came and each step of the path ended: at, event, revision."""
    return conn.execute(
        """SELECT at, event, revision FROM study_event WHERE tenant = %s AND study_id::text = %s
           ORDER BY id""",
        (tenant, study_id),
    ).fetchall()
