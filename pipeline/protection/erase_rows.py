"""What an erasure does to the rows of a study or of a tenant. In a transaction of the schema's owner.

Every table of the schema `public` with the study's id or its Study Instance UID loses these rows, whatever it is
called; kept are those named here. The row of the study stays, blanked, for the books refer to it by its opaque id.
Usage, ledger and audit trail stay as they are: no patient is in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from psycopg import sql

from pipeline import store
from pipeline.database import Connection
from pipeline.protection.tenant_tables import TenantTable, in_order_of_deletion
from pipeline.store import Row

_NAMES_STUDY = ("study_id", "prior_study_id", "study_instance_uid")
# What says that and why something was erased or kept, and the keys, which are shredded and not deleted.
KEPT = frozenset({"tenant", "audit_event", "erasure", "erasure_scope", "tenant_key", "data_key"})
_KEPT_OF_STUDY = KEPT | {"study"}

Counts = dict[str, int]
"""Name of a table → its rows."""


def count_of_study(conn: Connection, tenant: str, study_id: UUID) -> Counts:
    """What `erase_study_rows` would delete."""
    values = _values(conn, tenant, study_id)
    return {
        table.full_name: count
        for table, condition in _tables_of_study(conn)
        if (count := _count(conn, table, condition, values))
    }


def erase_study_rows(conn: Connection, tenant: str, study_id: UUID, erasure_id: UUID) -> None:
    """Delete the study's rows, blank its own, shred its keys; the scopes of its objects are noted for the erasure."""
    values = _values(conn, tenant, study_id) | {"erasure": erasure_id}
    conn.execute(_SCOPES, values)
    conn.execute(
        "UPDATE result SET prior_study_id = NULL WHERE tenant = %(tenant)s AND prior_study_id = %(study)s",
        values,
    )
    conn.execute(_WAITING_JOBS, values)
    conn.execute(_RELEASED_HOLDS, values)
    conn.execute(_WORKITEM_NOTICES, values)
    conn.execute(_COMMITMENTS, values)
    for table, condition in _tables_of_study(conn):
        _delete(conn, table, condition, values)
    conn.execute(_BLANK, values)
    store.note(conn, store.get_study(conn, tenant, study_id), "study_erased")
    conn.execute(_SHRED, values)


def count_of_tenant(conn: Connection, tenant: str) -> Counts:
    """What `erase_tenant_rows` would delete."""
    return {
        table.full_name: count
        for table in _tables(conn, KEPT)
        if (count := _count(conn, table, sql.SQL("true"), {"tenant": tenant}))
    }


def erase_tenant_rows(conn: Connection, tenant: str, erasure_id: UUID) -> None:
    """Delete the tenant's rows but those of the books and the audit trail, and shred all its keys."""
    values = {"tenant": tenant, "study": None, "erasure": erasure_id}
    conn.execute(_SCOPES, values)
    conn.execute(_WAITING_JOBS, values)
    for table in _tables(conn, KEPT):
        _delete(conn, table, sql.SQL("true"), values)
    conn.execute(_BLANK_TENANT, values)
    conn.execute(_SHRED, values)
    conn.execute(_SHRED_TENANT_KEYS, values)


# As `pipeline.protection.scopes` has them; those of a tenant that are keys of no study, secrets say, hold no objects.
_SCOPES = """
    INSERT INTO erasure_scope (tenant, erasure_id, scope)
    SELECT %(tenant)s, %(erasure)s, CASE WHEN location LIKE 'quarantine/%%' THEN 'instances/' || location
        ELSE 'instances/' || split_part(location, '/', 1) || '/' || split_part(location, '/', 2) END
    FROM (SELECT location, study_id FROM instance WHERE tenant = %(tenant)s
          UNION ALL SELECT location, study_id FROM quarantined_instance WHERE tenant = %(tenant)s) one
    WHERE %(study)s::uuid IS NULL OR study_id = %(study)s
    UNION SELECT %(tenant)s, %(erasure)s, 'study/' || id FROM study
    WHERE tenant = %(tenant)s AND (%(study)s::uuid IS NULL OR id = %(study)s)
    UNION SELECT %(tenant)s, %(erasure)s, scope FROM data_key
    WHERE tenant = %(tenant)s AND %(study)s::uuid IS NULL AND scope <> 'secrets'"""
_WAITING_JOBS = """
    DELETE FROM procrastinate_jobs WHERE status = 'todo' AND args->>'tenant' = %(tenant)s
      AND (%(study)s::uuid IS NULL OR args->>'study_id' = %(study)s::text)"""
_SHRED = """
    UPDATE data_key d SET wrapped = NULL, shredded_at = now(), retired_at = coalesce(retired_at, now())
    WHERE tenant = %(tenant)s AND wrapped IS NOT NULL AND (%(study)s::uuid IS NULL OR EXISTS (
        SELECT 1 FROM erasure_scope s
        WHERE s.tenant = d.tenant AND s.erasure_id = %(erasure)s AND s.scope = d.scope))"""
_SHRED_TENANT_KEYS = """
    UPDATE tenant_key SET wrapped = NULL, shredded_at = now(), retired_at = coalesce(retired_at, now())
    WHERE tenant = %(tenant)s AND wrapped IS NOT NULL"""
_BLANK_TENANT = """
    UPDATE tenant SET name = 'erased', called_ae_title = 'X' || substr(md5(gen_random_uuid()::text), 1, 15),
        case_key_secret = sha256(gen_random_uuid()::text::bytea)
    WHERE tenant = %(tenant)s"""
# Of the patient; the audit trail knows that there were any.
_RELEASED_HOLDS = """
    DELETE FROM retention_hold WHERE tenant = %(tenant)s AND released_at IS NOT NULL AND patient_id = (
        SELECT header->>'patient_id' FROM study WHERE tenant = %(tenant)s AND id = %(study)s)"""
_WORKITEM_NOTICES = """
    WITH gone AS (SELECT uid FROM workitem WHERE tenant = %(tenant)s
                  AND (study_id = %(study)s OR study_instance_uid = %(uid)s)),
         subscriptions AS (DELETE FROM workitem_subscription
                           WHERE tenant = %(tenant)s AND uid IN (SELECT uid FROM gone))
    DELETE FROM workitem_notice WHERE tenant = %(tenant)s AND uid IN (SELECT uid FROM gone)"""
# A commitment may be about several studies: it loses the references to this one's instances.
_COMMITMENTS = """
    WITH own AS (SELECT sop_instance_uid AS uid FROM instance WHERE tenant = %(tenant)s AND study_id = %(study)s)
    UPDATE storage_commitment c SET
        requested = (SELECT coalesce(jsonb_agg(one), '[]') FROM jsonb_array_elements(c.requested) one
                     WHERE one->>1 NOT IN (SELECT uid FROM own)),
        failed = (SELECT coalesce(jsonb_agg(one), '[]') FROM jsonb_array_elements(c.failed) one
                  WHERE one->>1 NOT IN (SELECT uid FROM own))
    WHERE tenant = %(tenant)s AND EXISTS (SELECT 1 FROM jsonb_array_elements(c.requested) one
                                          WHERE one->>1 IN (SELECT uid FROM own))"""
_BLANK = """
    UPDATE study SET status = 'erased', study_instance_uid = %(blank)s, header = '{}', route = '[]', completion = NULL,
        reason_code = NULL, reason_text = NULL, run_window = NULL, started_with = NULL, finding_count = NULL,
        has_measures = false, worst_category = NULL, critical = '{}', review_state = 'not_reviewed',
        priority = 'normal', search_text = '', urgency_lapsed = true, updated_at = now()
    WHERE tenant = %(tenant)s AND id = %(study)s"""


def _values(conn: Connection, tenant: str, study_id: UUID) -> Row:
    study = store.lock_study(conn, tenant, study_id)
    # A UID made of our own id (PS3.5 B.2): one that is sent again is a new study.
    blank = f"2.25.{study_id.int}"
    return {"tenant": tenant, "study": study_id, "uid": study.study_instance_uid, "blank": blank}


def _tables(conn: Connection, kept: frozenset[str]) -> list[TenantTable]:
    return [
        table for table in in_order_of_deletion(conn) if table.schema == "public" and table.name not in kept
    ]


def _tables_of_study(conn: Connection) -> Iterator[tuple[TenantTable, sql.Composable]]:
    """Tables with rows of studies, and the condition by which a row is of the study."""
    for table in _tables(conn, _KEPT_OF_STUDY):
        parts = [
            sql.SQL("{} = {}").format(
                sql.Identifier(name), sql.Placeholder("uid" if name == "study_instance_uid" else "study")
            )
            for name in _NAMES_STUDY
            # A result names the prior that it was compared with: it is another study's result.
            if name in table.columns and (table.name, name) != ("result", "prior_study_id")
        ]
        if parts:
            yield table, sql.SQL(" OR ").join(parts)


def _count(conn: Connection, table: TenantTable, condition: sql.Composable, values: Row) -> int:
    query = sql.SQL("SELECT count(*) AS n FROM {} WHERE tenant = %(tenant)s AND ({})")
    row = conn.execute(query.format(table.identifier, condition), values).fetchone()
    assert row is not None
    return int(row["n"])


def _delete(conn: Connection, table: TenantTable, condition: sql.Composable, values: Row) -> None:
    query = sql.SQL("DELETE FROM {} WHERE tenant = %(tenant)s AND ({})")
    conn.execute(query.format(table.identifier, condition), values)
