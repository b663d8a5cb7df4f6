"""What proves that a result was made and delivered, for those who look at money: no patient data, no UIDs."""

from __future__ import annotations

from datetime import UTC, datetime

from pipeline.database import Connection
from pipeline.store import Row, study_key


def runs(conn: Connection, tenant: str, study_id: str, product: str) -> list[Row]:
    """model_name, model_version, weights_sha256, revision, created_at of each run of a product; not what it found."""
    return conn.execute(
        """SELECT model_name, model_version, weights_sha256, revision, created_at
           FROM result WHERE tenant = %s AND study_id = %s AND product = %s ORDER BY revision""",
        (tenant, study_key(study_id), product),
    ).fetchall()


def acknowledgements(conn: Connection, tenant: str, study_id: str, product: str) -> list[Row]:
    """Each object at each destination: kind, revision, sha256, destination, state, attempts and when it was taken."""
    return conn.execute(
        """SELECT o.kind, o.revision, o.sha256, d.destination, d.state, d.attempts, d.acknowledged_at,
                  d.confirmed_at, d.confirmed_by
           FROM result_object o JOIN delivery d USING (tenant, sop_instance_uid)
           WHERE o.tenant = %s AND o.study_id = %s AND o.product = %s
           ORDER BY o.revision, o.kind, d.destination""",
        (tenant, study_key(study_id), product),
    ).fetchall()


def series_read(conn: Connection, tenant: str, study_id: str, product: str) -> list[Row]:
    """modality and instance_count of each series that the present revision's run of the product reads."""
    return conn.execute(
        """SELECT min(i.modality) AS modality, count(*) AS instance_count
           FROM study s
           CROSS JOIN LATERAL jsonb_to_recordset(s.route) AS choice (product text, series_instance_uid text)
           JOIN instance i ON i.tenant = s.tenant AND i.study_id = s.id
               AND i.series_instance_uid = choice.series_instance_uid
           WHERE s.tenant = %s AND s.id = %s AND choice.product = %s
           GROUP BY i.series_instance_uid ORDER BY count(*) DESC""",
        (tenant, study_key(study_id), product),
    ).fetchall()


def delivery_proof(
    conn: Connection, tenant: str, study_id: object, revision: int, product: str
) -> dict[str, str | int]:
    """What a usage event of a delivered result carries, so that it proves itself when the study is long gone.

    model, model_version, weights_sha256; input_digest, of all that the model read; how many objects were acknowledged
    by how many destinations, when the first and when the last. Empty for what did not run.
    """
    row = conn.execute(
        """SELECT r.model_name AS model, r.model_version, r.weights_sha256, r.input_digest, r.created_at AS made_at,
             count(d.acknowledged_at) AS objects_acknowledged,
             count(DISTINCT d.destination) FILTER (WHERE d.acknowledged_at IS NOT NULL) AS destinations,
             min(d.acknowledged_at) AS first_acknowledged_at, max(d.acknowledged_at) AS last_acknowledged_at
           FROM result r
           LEFT JOIN result_object o ON o.tenant = r.tenant AND o.study_id = r.study_id AND o.revision = r.revision
             AND o.product = r.product AND o.kind <> 'EVENT'
           LEFT JOIN delivery d ON d.tenant = o.tenant AND d.sop_instance_uid = o.sop_instance_uid
           WHERE r.tenant = %s AND r.study_id = %s AND r.revision = %s AND r.product = %s
           GROUP BY r.model_name, r.model_version, r.weights_sha256, r.input_digest, r.created_at""",
        (tenant, study_id, revision, product),
    ).fetchone()
    proof = {name: value for name, value in (row or {}).items() if value is not None}
    return {
        name: value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value
        for name, value in proof.items()
    }
