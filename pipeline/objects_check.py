"""Whether the object store has what the books name, and what lies there that they do not name."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pipeline.database import Connection
from pipeline.protection.sealed_stream import sealed_size
from pipeline.status import TERMINAL
from pipeline.store import Row
from storage.object_store import ObjectStore

_NAMED = {
    "instances": """SELECT location, NULL::bigint AS size_bytes FROM instance
                    WHERE tenant = %(tenant)s AND NOT was_removed(tenant, study_id, 'images')
                    UNION ALL SELECT location, NULL FROM quarantined_instance WHERE tenant = %(tenant)s
                    ORDER BY 1""",
    "results": """SELECT location, size_bytes FROM result_object
                  WHERE tenant = %(tenant)s AND NOT was_removed(tenant, study_id, 'results') ORDER BY location""",
}
_ROWS_AT_A_TIME = 5000
_PROBLEMS_MAX = 1000


@dataclass
class CheckedObjects:
    """named: rows that were compared. problems: a line for each that has no object, or one of another size; bounded.

    problem_count: all of them. left_over: keys of the work of studies that have ended.
    """

    named: int = 0
    problem_count: int = 0
    problems: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        return self.problem_count == 0

    def found(self, problem: str) -> None:
        self.problem_count += 1
        if len(self.problems) < _PROBLEMS_MAX:
            self.problems.append(problem)


def check_objects(
    tenants: list[str], connect: Callable[[str], Connection], store: ObjectStore
) -> CheckedObjects:
    """connect: the connection of a tenant's books."""
    checked = CheckedObjects()
    active: set[str] = set()
    for tenant in tenants:
        with connect(tenant) as conn:
            for folder, query in _NAMED.items():
                _check_folder(store, folder, _rows(conn, query, tenant), checked)
            ended = [status.value for status in TERMINAL]
            active |= {
                str(row["id"])
                for row in conn.execute(
                    "SELECT id FROM study WHERE tenant = %s AND NOT status = ANY(%s)", (tenant, ended)
                )
            }
    checked.left_over = [one.key for one in store.list("work") if one.key.split("/")[1] not in active]
    return checked


def _rows(conn: Connection, query: str, tenant: str) -> Iterator[Row]:
    with conn.cursor(name="named_objects") as cursor:
        cursor.itersize = _ROWS_AT_A_TIME
        yield from cursor.execute(query, {"tenant": tenant})


def _check_folder(store: ObjectStore, top: str, rows: Iterator[Row], checked: CheckedObjects) -> None:
    """Study by study: its rows against a listing of its folder, so that memory is bounded by a study."""
    for folder, named in itertools.groupby(rows, lambda row: _folder_of(top, row["location"])):
        sizes = {one.key: one.size_bytes for one in store.list(folder)}
        for row in named:
            key, checked.named = f"{top}/{row['location']}", checked.named + 1
            if key not in sizes:
                checked.found(f"missing: {key}")
            elif row["size_bytes"] is not None and sizes[key] not in _sizes(row["size_bytes"]):
                checked.found(f"of another size: {key}")


def _sizes(size_bytes: int) -> tuple[int, int]:
    """What an object of this size may have in the store: as it is, or sealed."""
    return size_bytes, sealed_size(size_bytes)


def _folder_of(top: str, location: str) -> str:
    parts = location.split("/")
    return "/".join([top, *parts[:2]]) if top == "instances" and len(parts) > 2 else f"{top}/{parts[0]}"
