"""What the database's schema is against what this code knows: older, the same, newer, or too new to run on.

Two versions of the code run beside one another while an upgrade rolls through (docs/upgrades.md). So a schema may know
migrations that this code has never heard of, as long as none of them has taken away what this code reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psycopg

_ROOT = Path(__file__).resolve().parent.parent
MIGRATION_FOLDERS = (_ROOT / "pipeline/sql/migrations", _ROOT / "billing/sql/migrations")
_PHASE = re.compile(r"^(?:--|#) phase: (expand|contract)(?: after (\S+))?$", re.MULTILINE)


@dataclass(frozen=True)
class Phase:
    """What a migration does to code that runs meanwhile.

    expand: it only adds, so that the version before runs on. contract: it takes away what only code reads that does
    not know the migration `after`.
    """

    name: str
    after: str | None = None


@dataclass(frozen=True)
class SchemaState:
    """missing: migrations that the database lacks, in order. unknown: those that this code has never heard of.

    too_new: of the unknown ones those after which this code does not run.
    """

    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    too_new: tuple[str, ...] = ()

    @property
    def problem(self) -> str | None:
        """Why this code cannot serve on the schema, and what to do; None when it can."""
        if self.too_new:
            return (
                f"the database's schema is too new for this version: {self.too_new[0]} took away what it reads. "
                "Start the version that migrated the database, or a newer one"
            )
        if self.missing:
            return (
                f"{len(self.missing)} migrations are missing in the database, first {self.missing[0]}: "
                "run `radmeter migrate` with this version"
            )
        return None


def migration_files() -> dict[str, Path]:
    """The file of each migration that this code knows, by name, in order of package and number."""
    return {
        path.stem: path
        for folder in MIGRATION_FOLDERS
        for path in sorted(folder.iterdir())
        if path.suffix in (".sql", ".py") and "rollback" not in path.name and not path.name.startswith("__")
    }


def phase_of(path: Path) -> Phase | None:
    """What the line `-- phase: …` of a migration says; None for one from before phases were written down."""
    found = _PHASE.search(path.read_text(encoding="utf-8"))
    return Phase(found[1], found[2]) if found else None


def compare(known: Iterable[str], applied: dict[str, Phase | None]) -> SchemaState:
    """known: names of the code's migrations. applied: those of the database, with their phases."""
    names = list(known)
    unknown = [name for name in applied if name not in names]

    def is_too_new(phase: Phase | None) -> bool:
        return phase is None or (phase.name == "contract" and phase.after not in names)

    return SchemaState(
        missing=tuple(name for name in names if name not in applied),
        unknown=tuple(unknown),
        too_new=tuple(name for name in unknown if is_too_new(applied[name])),
    )


def schema_state(database_url: str, *, connect_timeout_s: float = 5.0) -> SchemaState:
    """Look, and change nothing. For the owner of the schema. Raises `psycopg.OperationalError` without a database."""
    with psycopg.connect(database_url, connect_timeout=round(connect_timeout_s)) as conn:
        return compare(migration_files(), applied_migrations(conn))


def applied_migrations(conn: psycopg.Connection[tuple[object, ...]]) -> dict[str, Phase | None]:
    """What the database has, oldest first; nothing for one that was never migrated."""
    if not _exists(conn, "_yoyo_migration"):
        return {}
    rows = conn.execute("SELECT migration_id FROM _yoyo_migration ORDER BY applied_at_utc").fetchall()
    phases: dict[str, Phase] = {}
    if _exists(conn, "schema_phase"):
        for name, phase, after in conn.execute("SELECT migration, phase, after FROM schema_phase").fetchall():
            phases[str(name)] = Phase(str(phase), str(after) if after else None)
    return {str(row[0]): phases.get(str(row[0])) for row in rows}


def _exists(conn: psycopg.Connection[tuple[object, ...]], table: str) -> bool:
    row = conn.execute("SELECT to_regclass(%s)", (table,)).fetchone()
    return row is not None and row[0] is not None
