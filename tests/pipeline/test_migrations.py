"""The schema: reached from nothing, reached once, reached together."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from pipeline.errors import HalfDoneMigration, MigrationBusy, MigrationFailed, SchemaTooNew
from pipeline.migrations import mark_applied, migrate, pending
from pipeline.schema_state import MIGRATION_FOLDERS, schema_state

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


def apply_all_but(url: str, name: str) -> None:
    """As if the note of one migration had never been written."""
    migrate(url)
    with psycopg.connect(url) as conn:
        conn.execute("DELETE FROM _yoyo_migration WHERE migration_id = %s", (name,))


def test_one_that_is_killed_in_the_middle_leaves_nothing_half_done(database_url: str) -> None:
    """Killed while it waits for a table that somebody reads: the next one finds no remnant in its way."""
    migrate(database_url)
    last = "pipeline-0630.schema-phase"
    with psycopg.connect(database_url) as conn:
        conn.execute("DELETE FROM _yoyo_migration WHERE migration_id = %s", (last,))
        conn.execute("DROP TABLE schema_phase")
        conn.execute("INSERT INTO yoyo_lock (locked, ctime, pid) VALUES (1, now(), 4711)")
    with psycopg.connect(database_url) as holder, psycopg.connect(database_url, autocommit=True) as watcher:
        holder.execute("LOCK TABLE _yoyo_migration IN SHARE MODE")  # it can do everything but note it
        command = [sys.executable, "-m", "server", "migrate"]
        environment = os.environ | {"RADMETER_DATABASE_URL": database_url}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        waits = """SELECT 1 FROM pg_stat_activity
                   WHERE wait_event_type = 'Lock' AND datname = current_database()"""
        deadline = time.monotonic() + 60
        while not watcher.execute(waits).fetchone():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.kill()
        process.communicate()
    told: list[str] = []
    assert migrate(database_url, tell=told.append) == 1
    assert told[-1] == f"applied {last}"
    assert pending(database_url) == []


def test_one_that_older_versions_left_half_done_is_noticed_and_can_be_marked(database_url: str) -> None:
    name = "pipeline-0583.forced-policies"
    apply_all_but(database_url, "pipeline-0630.schema-phase")
    with pytest.raises(HalfDoneMigration, match=r"pipeline-0630.*already exists.*--mark pipeline-0630"):
        migrate(database_url)
    with pytest.raises(MigrationFailed, match="not among"):
        mark_applied(database_url, name)
    mark_applied(database_url, "pipeline-0630.schema-phase")
    assert migrate(database_url) == 0


def test_who_waits_too_long_for_another_migration_is_told(database_url: str) -> None:
    with psycopg.connect(database_url) as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended('radmeter migrate', 0))")
        with pytest.raises(MigrationBusy, match=r"0\.1 s"):
            migrate(database_url, wait_s=0.1)
    assert migrate(database_url, wait_s=10) == COUNT


class TestSchemaOfAnotherVersion:
    """What this code does on a schema that a newer version has migrated."""

    @pytest.fixture
    def add(self, migrated_url: str) -> Callable[[str, str, str | None], None]:
        def add(name: str, phase: str, after: str | None = None) -> None:
            with psycopg.connect(migrated_url) as conn:
                conn.execute(
                    """INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc)
                       VALUES (%s, %s, now())""",
                    (name, name),
                )
                if phase:
                    conn.execute("INSERT INTO schema_phase VALUES (%s, %s, %s)", (name, phase, after))

        return add

    def test_one_that_was_only_added_to_is_served(self, migrated_url: str, add: Any) -> None:
        add("pipeline-9000.more", "expand", None)
        state = schema_state(migrated_url)
        assert (state.unknown, state.problem) == (("pipeline-9000.more",), None)
        assert migrate(migrated_url) == 0

    def test_what_nobody_reads_any_more_may_be_gone(self, migrated_url: str, add: Any) -> None:
        add("pipeline-9001.less", "contract", "pipeline-0630.schema-phase")
        assert schema_state(migrated_url).problem is None

    @pytest.mark.parametrize(("phase", "after"), [("contract", "pipeline-9000.more"), ("", None)])
    def test_one_that_took_away_what_is_read_here_is_refused(
        self, migrated_url: str, add: Any, phase: str, after: str | None
    ) -> None:
        add("pipeline-9001.less", phase, after)
        problem = schema_state(migrated_url).problem
        assert problem is not None
        assert "too new for this version: pipeline-9001.less" in problem
        with pytest.raises(SchemaTooNew, match="pipeline-9001"):
            migrate(migrated_url)
