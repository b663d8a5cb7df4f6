"""Rotation of keys. What was sealed before stays readable at every moment of it, and it may be cut off anywhere.

Of the master key: the new file stands first in RADMETER_MASTER_KEYS and the former one after it; tenant keys are then
wrapped anew, and the former file can go. Of a tenant's key: a new one is in force, its data keys are wrapped anew, and
the former one is destroyed. Of data keys: they are retired, a new one is made for what comes, and objects are sealed
anew (`pipeline.protection.seal_anew`). In the caller's transaction, for one tenant.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from pipeline.database import Connection
from pipeline.protection import master_keys
from pipeline.protection.keyring import about_data_key, about_tenant_key, new_tenant_key
from pipeline.protection.master_keys import MasterKeys

_BATCH = 500


@dataclass(frozen=True)
class KeyCounts:
    """Of one tenant. other_masters: ids of former master keys that still wrap a key of the tenant.

    behind: data keys that a former key of the tenant wraps. retired: data keys whose objects are to be sealed anew.
    """

    tenant_keys: int
    other_masters: tuple[str, ...]
    data_keys: int
    behind: int
    retired: int
    shredded: int


def count_keys(conn: Connection, tenant: str, current_master_id: str) -> KeyCounts:
    row = conn.execute(
        """SELECT (SELECT count(*) FROM tenant_key WHERE tenant = %(tenant)s AND wrapped IS NOT NULL) AS tenant_keys,
                  ARRAY(SELECT DISTINCT master_id FROM tenant_key
                        WHERE tenant = %(tenant)s AND wrapped IS NOT NULL AND master_id <> %(current)s
                        ORDER BY 1) AS other_masters,
                  count(*) FILTER (WHERE d.wrapped IS NOT NULL) AS data_keys,
                  count(*) FILTER (WHERE d.wrapped IS NOT NULL AND t.retired_at IS NOT NULL) AS behind,
                  count(*) FILTER (WHERE d.wrapped IS NOT NULL AND d.retired_at IS NOT NULL) AS retired,
                  count(*) FILTER (WHERE d.wrapped IS NULL) AS shredded
           FROM data_key d JOIN tenant_key t ON t.tenant = d.tenant AND t.id = d.tenant_key_id
           WHERE d.tenant = %(tenant)s""",
        {"tenant": tenant, "current": current_master_id},
    ).fetchone()
    assert row is not None
    return KeyCounts(**row | {"other_masters": tuple(row["other_masters"])})


def rewrap_tenant_keys(conn: Connection, masters: MasterKeys, tenant: str) -> int:
    """Wrap the tenant's keys under the current master key; returns how many were under another one."""
    rows = conn.execute(
        """SELECT id, master_id, wrapped FROM tenant_key
           WHERE tenant = %s AND wrapped IS NOT NULL AND master_id <> %s FOR UPDATE""",
        (tenant, masters.current_id),
    ).fetchall()
    for row in rows:
        about = about_tenant_key(tenant, row["id"])
        wrapped = masters.wrap(masters.unwrap(row["master_id"], bytes(row["wrapped"]), about), about)
        conn.execute(
            "UPDATE tenant_key SET master_id = %s, wrapped = %s WHERE tenant = %s AND id = %s",
            (masters.current_id, wrapped, tenant, row["id"]),
        )
    return len(rows)


def rotate_tenant_key(conn: Connection, masters: MasterKeys, tenant: str) -> UUID:
    """Put a new key of the tenant in force; data keys made from now on are wrapped by it."""
    conn.execute(
        "UPDATE tenant_key SET retired_at = now() WHERE tenant = %s AND retired_at IS NULL", (tenant,)
    )
    return new_tenant_key(conn, masters, tenant)


def rewrap_data_keys(conn: Connection, masters: MasterKeys, tenant: str) -> int:
    """Wrap a batch of data keys under the tenant's key in force; returns how many were under a former one.

    Where there is none left, the former ones are destroyed.
    """
    new = conn.execute(
        "SELECT id, master_id, wrapped FROM tenant_key WHERE tenant = %s AND retired_at IS NULL FOR SHARE",
        (tenant,),
    ).fetchone()
    if new is None:
        return 0
    new_key = masters.unwrap(new["master_id"], bytes(new["wrapped"]), about_tenant_key(tenant, new["id"]))
    rows = conn.execute(
        """SELECT d.id, d.wrapped, d.tenant_key_id, t.master_id, t.wrapped AS tenant_wrapped
           FROM data_key d JOIN tenant_key t ON t.tenant = d.tenant AND t.id = d.tenant_key_id
           WHERE d.tenant = %s AND d.wrapped IS NOT NULL AND t.wrapped IS NOT NULL AND d.tenant_key_id <> %s
           LIMIT %s FOR UPDATE OF d""",
        (tenant, new["id"], _BATCH),
    ).fetchall()
    for row in rows:
        old_about = about_tenant_key(tenant, row["tenant_key_id"])
        old_key = masters.unwrap(row["master_id"], bytes(row["tenant_wrapped"]), old_about)
        about = about_data_key(tenant, row["id"])
        wrapped = master_keys.wrap(new_key, master_keys.unwrap(old_key, bytes(row["wrapped"]), about), about)
        conn.execute(
            "UPDATE data_key SET tenant_key_id = %s, wrapped = %s WHERE tenant = %s AND id = %s",
            (new["id"], wrapped, tenant, row["id"]),
        )
    if not rows:
        conn.execute(
            """UPDATE tenant_key t SET wrapped = NULL, shredded_at = now()
               WHERE tenant = %s AND retired_at IS NOT NULL AND wrapped IS NOT NULL AND NOT EXISTS (
                   SELECT 1 FROM data_key d
                   WHERE d.tenant = t.tenant AND d.tenant_key_id = t.id AND d.wrapped IS NOT NULL)""",
            (tenant,),
        )
    return len(rows)


def retire_data_keys(conn: Connection, tenant: str) -> int:
    """What is sealed from now on is sealed with new data keys; returns how many were in force."""
    return conn.execute(
        "UPDATE data_key SET retired_at = now() WHERE tenant = %s AND retired_at IS NULL", (tenant,)
    ).rowcount
