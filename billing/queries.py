"""Runs the named queries of `sql/*.sql`: bound parameters only, rows as dicts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

Connection = psycopg.Connection[Any]
Row = dict[str, Any]

_FOLDER = Path(__file__).parent / "sql"
_NAME = re.compile(r"^-- name: ([a-z_]+)$", re.MULTILINE)

_SEPARATOR = "\x1f"


@cache
def load_queries() -> Mapping[str, bytes]:
    """Every query by its name."""
    names: list[str] = []
    texts: list[str] = []
    for file in sorted(_FOLDER.glob("*.sql")):
        _, *parts = _NAME.split(file.read_text(encoding="utf-8"))
        names += parts[::2]
        texts += parts[1::2]
    assert len(names) == len(set(names)), "a query has one name"
    return {name: text.strip().encode() for name, text in zip(names, texts, strict=True)}


def rows(conn: Connection, name: str, values: Mapping[str, object]) -> list[Row]:
    """All rows of a query, whatever the connection's own row factory."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(load_queries()[name], values).fetchall()


def first_row(conn: Connection, name: str, values: Mapping[str, object]) -> Row | None:
    """The first row of a query, None where there is none."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(load_queries()[name], values).fetchone()


def one_row(conn: Connection, name: str, values: Mapping[str, object]) -> Row:
    """The row of a query that always has one."""
    row = first_row(conn, name, values)
    assert row is not None, f"{name} returns a row"
    return row


def execute(conn: Connection, name: str, values: Mapping[str, object]) -> None:
    """A query without rows."""
    conn.execute(load_queries()[name], values)


def execute_many(conn: Connection, name: str, values: Iterable[Mapping[str, object]]) -> None:
    """A query without rows, for each of `values`."""
    with conn.cursor() as cursor:
        cursor.executemany(load_queries()[name], values)


def packed(values: Sequence[str]) -> str:
    """Texts without control characters as one parameter, which `string_to_array` takes apart: in an array, each of
    a thousand would be escaped by itself. An empty text is a null."""
    text = _SEPARATOR.join(values)
    assert text.count(_SEPARATOR) == max(len(values) - 1, 0), "no text holds a control character"
    return text


def unpacked(text: str | None) -> list[str]:
    """The texts that `string_agg` put together; it makes a null of none."""
    return text.split(_SEPARATOR) if text else []
