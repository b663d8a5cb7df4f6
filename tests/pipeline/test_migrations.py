"""The schema: reached from nothing, reached once, reached together."""

from __future__ import annotations

import re
import subprocess
import sys

import psycopg

from pipeline.migrations import MIGRATION_FOLDERS, migrate, pending

COUNT = sum(1 for folder in MIGRATION_FOLDERS for _ in folder.glob("*[0-9].*") if "rollback" not in _.name)


def shape(url: str) -> list[tuple[str, ...]]:
    """Columns, constraints, policies and functions of our schemas."""
    with psycopg.connect(url) as conn:
        return conn.execute("""
            SELECT 'column', table_schema || '.' || table_name, column_name, data_type
            FROM information_schema.columns WHERE table_schema IN ('public', 'billing')
              AND table_name NOT LIKE '%yoyo%'
            UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
            FROM pg_constraint WHERE connamespace::regnamespace::text IN ('public', 'billing')
              AND conrelid::regclass::text NOT LIKE '%yoyo%'
            UNION ALL SELECT 'policy', tablename, policyname, qual FROM pg_policies
            UNION ALL SELECT 'function', pronamespace::regnamespace::text, proname, md5(prosrc) FROM pg_proc
            WHERE pronamespace::regnamespace::text IN ('public', 'billing') ORDER BY 1, 2, 3, 4""").fetchall()


def test_a_fresh_database_is_brought_to_the_current_schema_once(database_url: str) -> None:
    assert len(pending(database_url)) == COUNT
    assert migrate(database_url) == COUNT
    assert pending(database_url) == []
    before = shape(database_url)
    assert migrate(database_url) == 0
    assert shape(database_url) == before


def test_processes_that_start_together_migrate_once(database_url: str) -> None:
    """A rolling start of several servers on one empty database."""
    command = [
        sys.executable,
        "-c",
        "import sys; from pipeline.migrations import migrate; print(migrate(sys.argv[1]))",
    ]
    together = [
        subprocess.Popen([*command, database_url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=120) for process in together]
    assert [process.returncode for process in together] == [0, 0, 0], outputs
    assert sorted(int(output) for output, _ in outputs) == [0, 0, COUNT]
    assert pending(database_url) == []


def test_names_tell_package_order_and_content() -> None:
    """yoyo's ids are unique over both folders only because they begin with the package."""
    for folder in MIGRATION_FOLDERS:
        package = folder.parent.parent.name
        numbers = []
        for path in folder.iterdir():
            if path.name.startswith("__"):
                continue
            match = re.fullmatch(rf"{package}-(\d{{4}})\.[a-z-]+(\.rollback)?\.(sql|py)", path.name)
            assert match is not None, path.name
            if not match[2]:
                numbers.append(int(match[1]))
        assert len(numbers) == len(set(numbers)), "a number is taken once; gaps do no harm"
