"""`radmeter doctor` against a real database in which something is wrong."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from pipeline import heartbeat
from pipeline.nodes import Self, list_nodes, say_here
from server.checks import of_database, of_files
from server.checks.every import CHECKS
from server.doctor import ground_of, verdicts
from server.installation import owner_connection
from server.node_pulse import node_pulse
from server.settings import load_settings
from tests.server.commands import run

TENANT_KEY = "00000000-0000-4000-8000-000000000001"


def findings(*options: str) -> dict[str, dict[str, str]]:
    """Check → what was found, of those that are not well; each finding says what, means and do."""
    result = run("doctor", "--json", *options)
    verdicts = json.loads(result.stdout)
    found = {one["name"]: one["finding"] for one in verdicts if one["finding"]}
    assert all(all(one.values()) for one in found.values())
    assert result.exit_code == (1 if any(not one["is_well"] for one in verdicts) else 0)
    return found


def test_of_an_installation_at_rest_only_the_worker_is_missing(owner: psycopg.Connection) -> None:
    assert set(findings("--deep")) <= {"a worker is at work", "secrets and images are closed to others"}
    owner.execute("INSERT INTO procrastinate_workers DEFAULT VALUES")
    os.chmod(os.environ["RADMETER_DATA"], 0o700)
    result = run("doctor")
    assert (result.exit_code, result.output.splitlines()[-1].startswith("all ")) == (0, True), result.output


def test_a_database_that_is_away_is_said_first_and_the_rest_is_looked_at(
    owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    monkeypatch.setenv(
        "RADMETER_DATABASE_URL", f"postgresql://radmeter:geheim@127.0.0.1:{free_port}/radmeter"
    )
    result = run("doctor")
    lines = result.stdout.splitlines()
    assert result.exit_code == 1
    assert lines[0] == "PROBLEM the database answers"
    assert "Connection refused" in result.stdout
    assert "RADMETER_DATABASE_URL" in result.stdout
    assert "skipped the queue is not late: the database is away" in lines
    assert "ok      time zones are known" in lines
    assert "geheim" not in result.output
    shown = run("status")
    assert shown.exit_code == 0
    assert "1. the database does not answer" in shown.stdout


@pytest.mark.parametrize(
    ("harm", "check", "words"),
    [
        (
            "DELETE FROM _yoyo_migration WHERE migration_id = 'pipeline-0651.node'",
            "the schema is that of this version", "1 migrations are missing in the database, first pipeline-0651.node",
        ),
        (
            "ALTER TABLE study DISABLE ROW LEVEL SECURITY", "row-level security keeps tenants apart",
            "no policy protects study",
        ),
        (
            "CREATE POLICY all_of_it ON tenant USING (true)", "row-level security keeps tenants apart",
            "sees rows of tenants without being one",
        ),
        (
            """INSERT INTO node (name, host, role, version, newest_migration, started_at, clock_ahead_s)
               VALUES ('ct worker 1', 'ct', 'worker', '1', 'x', now(), 93)""",
            "clocks agree", "ct worker 1 by +93 s",
        ),
        (
            """INSERT INTO node (name, host, role, version, newest_migration, started_at, seen_at, clock_ahead_s)
               VALUES ('ct worker 1', 'ct', 'worker', '1', 'x', now(), now() - interval '5 minutes', 0)""",
            "every process is heard of", "not heard of: ct worker 1",
        ),
        (
            """INSERT INTO node (name, host, role, version, newest_migration, started_at, clock_ahead_s)
               SELECT 'n' || n, 'h', 'worker', n, 'm' || n, now(), 0 FROM generate_series(1, 2) n""",
            "all processes are of one version", "processes of 2 versions serve: they know m1, m2",
        ),
        (
            """INSERT INTO procrastinate_jobs (queue_name, task_name, status)
               VALUES ('studies', 'take_step', 'doing')""",
            "no job is in the hands of the dead", "1 jobs are in the hands of workers that are gone",
        ),
        (
            """INSERT INTO procrastinate_jobs (queue_name, task_name, status, scheduled_at)
               VALUES ('studies', 'take_step', 'todo', now() - interval '42 minutes')""",
            "the queue is not late", "1 jobs are due, the oldest for 42 minutes",
        ),
        (
            """SELECT append_audit_event(NULL, 'Security Alert', 'tls_failed', 8, '{"count": 41}');
               ALTER TABLE audit_event DISABLE TRIGGER USER; UPDATE audit_event SET detail = '{}'""",
            "the end of the audit trail is whole", "broken at event 1",
        ),
        (
            """INSERT INTO portal_user (tenant, name, password_hash, role, must_change_password)
               VALUES ('default', 'admin', 'x', 'admin', true)""",
            "given passwords were changed", "1 users of the portal still have the password",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 45 else "",
)  # fmt: skip
def test_what_is_wrong_in_the_database_has_its_sentence(
    owner: psycopg.Connection, harm: str, check: str, words: str
) -> None:
    owner.execute(harm.encode())
    (wanted,) = (one for one in CHECKS if one.name == check)
    with ground_of(load_settings()) as ground:
        (verdict,) = verdicts(ground, deep=False, checks=[wanted])
    assert verdict.finding is not None
    assert words in verdict.finding.what


def test_a_heartbeat_that_is_due_or_failed_is_told_with_its_stage(
    owner: psycopg.Connection, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "a made-up study comes through with the right answer"
    monkeypatch.setenv("RADMETER_HEARTBEAT_MINUTES", "5")
    assert findings()[name]["what"] == "the heartbeat is not installed"
    with owner_connection(migrated_url) as conn:
        heartbeat.install(conn, port=11112)
    assert name not in findings()  # it was installed just now
    owner.execute("UPDATE tenant SET created_at = created_at - interval '21 minutes' WHERE is_synthetic")
    assert findings()[name]["what"] == "no made-up study came through yet"
    with owner_connection(migrated_url, heartbeat.TENANT) as conn:
        beat = heartbeat.begin(conn, "2.25.1", every=timedelta(0))
        assert beat is not None
        heartbeat.end(conn, beat, heartbeat.Ending(stage="answer", problem="nothing found"))
    found = findings()[name]
    assert (
        found["what"]
        == "the last made-up study failed at answer (the model's answer is wrong): nothing found"
    )
    assert "results must not be trusted" in found["means"]


def test_what_is_wrong_on_the_machine_has_its_sentence(
    owner: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secrets").mkdir(mode=0o700)
    (tmp_path / "secrets/token").write_text("x")
    (tmp_path / "secrets/token").chmod(0o644)
    monkeypatch.setattr(of_files, "_FREE_BYTES_MIN", 1 << 60)
    monkeypatch.setenv("RADMETER_HTTP_HOST", "0.0.0.0")
    found = findings()
    assert "secrets/token (0644)" in found["secrets and images are closed to others"]["what"]
    assert "MiB left" in found["the disk has room"]["what"]
    assert "C-STORE is refused (A700H)" in found["the disk has room"]["means"]
    assert "RADMETER_COOKIE_SECURE=true" in found["nothing in the settings is unsafe"]["do"]


def test_what_a_disaster_would_need_and_lacks_has_its_sentence(
    owner: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    monkeypatch.setenv("RADMETER_BACKUP", str(tmp_path / "away"))
    assert "there is no folder" in findings()["the backup is not old"]["what"]
    (tmp_path / "away").mkdir()
    assert findings()["the backup is not old"]["do"] == "radmeter backup"
    owner.execute(
        "INSERT INTO tenant_key (tenant, id, master_id, wrapped) VALUES ('default', %s, %s, 'x')",
        (TENANT_KEY, "ab" * 8),
    )
    assert (
        "the master key abababababababab of tenant default" in findings()["the master keys are here"]["what"]
    )
    monkeypatch.setenv("RADMETER_OBJECTS", "s3://images/here")
    monkeypatch.setenv("RADMETER_OBJECTS_ENDPOINT", f"http://127.0.0.1:{free_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    owner.execute(
        """INSERT INTO destination (tenant, name, kind, ae_title, host, port)
           VALUES ('default', 'archive', 'dimse', 'ARCHIVE', '127.0.0.1', %s)""",
        (free_port,),
    )
    deep = findings("--deep")
    silent = deep["each destination answers"]["what"]
    assert silent.startswith(
        f"1 destinations do not answer: archive of default (ARCHIVE@127.0.0.1:{free_port})"
    )
    found = deep["the object store writes, lists, reads and removes"]
    assert f"127.0.0.1:{free_port}" in found["what"]
    assert "A700H" in found["means"]


def test_a_session_that_blocks_others_is_named(
    owner: psycopg.Connection, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_database, "_LOCKED_S", 0)
    waiter = psycopg.connect(migrated_url, autocommit=True)
    with psycopg.connect(migrated_url) as blocker:
        blocker.execute("LOCK TABLE study_facts")
        pid = blocker.info.backend_pid
        waiter.pgconn.send_query(b"SELECT count(*) FROM study_facts")
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'study_facts'::regclass"
        while owner.execute(waiting).fetchone() is None:
            pass
        found = findings()["no session blocks others"]
        blocker.rollback()
    waiter.close()
    assert "1 sessions have waited for a lock" in found["what"]
    assert f"pid {pid}" in found["do"]


def test_a_process_stands_in_the_register_while_it_serves_and_leaves_it_at_its_end(
    owner: psycopg.Connection, migrated_url: str
) -> None:
    with owner_connection(migrated_url) as conn:
        with node_pulse(migrated_url, "worker"):
            while not (here := list_nodes(conn)):
                conn.rollback()
            assert (here[0].role, here[0].is_silent, here[0].clock_is_off) == ("worker", False, False)
            assert here[0].newest_migration >= "pipeline-0651"
        conn.rollback()
        assert list_nodes(conn) == []
        # One that ended without a word is forgotten when another speaks, an hour later.
        say_here(conn, Self("gone", "h", "worker", "1", "m"), 0.0)
        conn.execute("UPDATE node SET seen_at = seen_at - interval '61 minutes'")
        say_here(conn, Self("here", "h", "worker", "1", "m"), 0.0)
        assert [one.name for one in list_nodes(conn)] == ["here"]
