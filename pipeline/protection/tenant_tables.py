"""The tables that hold rows of tenants, read from the catalogue: a new table is never forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter

from psycopg import sql

from pipeline.database import Connection

_TABLES = """
    SELECT n.nspname AS schema, c.relname AS name,
           array_agg(a.attname::text ORDER BY a.attnum) AS columns,
           ARRAY(SELECT k.attname::text FROM pg_index i
                     JOIN unnest(i.indkey::int[]) WITH ORDINALITY AS p (attnum, place) ON true
                     JOIN pg_attribute k ON k.attrelid = c.oid AND k.attnum = p.attnum
                 WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY p.place) AS key
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE n.nspname IN ('public', 'billing') AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    GROUP BY 1, 2, c.oid HAVING 'tenant' = ANY (array_agg(a.attname)) ORDER BY 1, 2
"""
_REFERENCES = """
    SELECT DISTINCT fn.nspname || '.' || f.relname AS holder, tn.nspname || '.' || t.relname AS target
    FROM pg_constraint k
    JOIN pg_class f ON f.oid = k.conrelid JOIN pg_namespace fn ON fn.oid = f.relnamespace
    JOIN pg_class t ON t.oid = k.confrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
    WHERE k.contype = 'f' AND k.conrelid <> k.confrelid
"""


@dataclass(frozen=True)
class TenantTable:
    """A table with the column `tenant`. key: columns of its primary key, none where it has none."""

    schema: str
    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]

    @property
    def full_name(self) -> str:
        """Without the schema where it is the usual one."""
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)


def tenant_tables(conn: Connection) -> list[TenantTable]:
    """All of them, by name."""
    return [
        TenantTable(row["schema"], row["name"], tuple(row["columns"]), tuple(row["key"]))
        for row in conn.execute(_TABLES).fetchall()
    ]


def in_order_of_deletion(conn: Connection) -> Iterator[TenantTable]:
    """A table comes before those that it refers to."""
    tables = {f"{one.schema}.{one.name}": one for one in tenant_tables(conn)}
    order: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(tables, ()))
    for row in conn.execute(_REFERENCES).fetchall():
        order.add(row["target"], row["holder"])
    return (tables[name] for name in order.static_order() if name in tables)
