"""Secrets that lie in rows of the database, sealed by the tenant's keys: a password of an archive, say.

    sealed:1:<id of the data key>:<base64 of nonce, text by AES-256-GCM, tag>

bound to tenant, column and row, so that nobody can move one to where it would be shown or used. Without master keys a
value is stored as it is; one that was stored so stays readable once there are keys, and `radmeter keys rewrap` seals
it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from psycopg import sql

from pipeline.database import Connection
from pipeline.protection import master_keys
from pipeline.protection.errors import SealBroken, SealedWithoutKeys
from pipeline.protection.keyring import opening_key, sealing_key
from pipeline.protection.master_keys import MasterKeys

SCOPE = "secrets"
_PREFIX = "sealed:1:"


@dataclass(frozen=True)
class SealedColumn:
    """A column of text that is sealed. row: the column that, with the tenant, names a row."""

    table: str
    column: str
    row: str

    def about(self, tenant: str, row: str) -> str:
        return f"{self.table}.{self.column} of {tenant}: {row}"


QUERY_SECRET = SealedColumn("peer", "query_secret", "ae_title")
SEALED_COLUMNS = (QUERY_SECRET,)


def seal_text(conn: Connection, masters: MasterKeys | None, tenant: str, about: str, text: str) -> str:
    """What is stored for `text`."""
    if masters is None:
        return text
    key = sealing_key(conn, masters, tenant, SCOPE)
    return f"{_PREFIX}{key.id}:{base64.b64encode(master_keys.wrap(key.key, text.encode(), about)).decode()}"


def open_text(conn: Connection, masters: MasterKeys | None, tenant: str, about: str, stored: str) -> str:
    """The text of what is stored. Raises `SealedWithoutKeys`, `SealBroken` and what `opening_key` raises."""
    if not stored.startswith(_PREFIX):
        return stored
    if masters is None:
        raise SealedWithoutKeys
    key_id, _, value = stored.removeprefix(_PREFIX).partition(":")
    try:
        key, sealed = UUID(key_id), base64.b64decode(value, validate=True)
    except ValueError:
        raise SealBroken("a sealed value in the database is damaged") from None
    return master_keys.unwrap(opening_key(conn, masters, tenant, key), sealed, about).decode()


def seal_columns_anew(conn: Connection, masters: MasterKeys, tenant: str) -> int:
    """Seal every value that is plain, or sealed with a key no longer in force; returns how many were."""
    in_force = f"{_PREFIX}{sealing_key(conn, masters, tenant, SCOPE).id}:"
    return sum(
        _seal_column(conn, tenant, column, in_force, _Anew(conn, masters, tenant))
        for column in SEALED_COLUMNS
    )


@dataclass(frozen=True)
class _Anew:
    conn: Connection
    masters: MasterKeys
    tenant: str

    def __call__(self, about: str, stored: str) -> str:
        text = open_text(self.conn, self.masters, self.tenant, about, stored)
        return seal_text(self.conn, self.masters, self.tenant, about, text)


def _seal_column(
    conn: Connection, tenant: str, column: SealedColumn, in_force: str, anew: Callable[[str, str], str]
) -> int:
    names = {name: sql.Identifier(getattr(column, name)) for name in ("table", "column", "row")}
    select = """SELECT {row} AS row, {column} AS stored FROM {table}
                WHERE tenant = %s AND {column} IS NOT NULL FOR UPDATE"""
    count = 0
    for row in conn.execute(sql.SQL(select).format(**names), (tenant,)).fetchall():
        if row["stored"].startswith(in_force):
            continue
        update = sql.SQL("UPDATE {table} SET {column} = %s WHERE tenant = %s AND {row} = %s").format(**names)
        conn.execute(update, (anew(column.about(tenant, row["row"]), row["stored"]), tenant, row["row"]))
        count += 1
    return count
