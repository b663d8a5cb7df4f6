"""The schema goes up, down and up again; every query of the package fits it."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
from yoyo import get_backend, read_migrations

from billing.queries import load_queries
from pipeline.migrations import MIGRATION_FOLDERS, migrate

BILLING = Path(__file__).resolve().parents[2] / "billing"


def test_billing_can_be_rolled_back_and_applied_again(database_url: str) -> None:
    migrate(database_url)
    backend = get_backend(database_url.replace("postgresql://", "postgresql+psycopg://", 1))
    migrations = read_migrations(*(str(folder) for folder in MIGRATION_FOLDERS))
    ours = migrations.filter(lambda migration: migration.id.startswith("billing-"))
    assert len(ours) >= 3
    with backend.lock():
        backend.rollback_migrations(backend.to_rollback(ours))
    with psycopg.connect(database_url) as conn:
        assert conn.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'billing'").fetchone() == (0,)
    with backend.lock():
        backend.apply_migrations(backend.to_apply(migrations))
    backend.connection.close()
    with psycopg.connect(database_url) as conn:
        assert conn.execute("SELECT count(*) FROM billing.current_usage").fetchone() == (0,)


def test_every_named_query_is_valid_and_used(migrated_url: str) -> None:
    code = "".join(path.read_text() for path in BILLING.glob("**/*.py"))
    with psycopg.connect(migrated_url) as conn:
        for name, query in load_queries().items():
            assert f'"{name}"' in code, f"{name} is used nowhere"
            # A prepared statement is parsed and checked against the schema, not run.
            prepared = re.sub(rb"%\([a-z0-9_]+\)s", b"NULL", query).replace(b"%%", b"%")
            conn.execute(b"PREPARE " + name.encode() + b" AS " + prepared)


def test_no_query_is_put_together_from_text() -> None:
    """Attack 28: bound parameters only. Queries live in queries.sql; nothing formats one."""
    for path in BILLING.glob("**/*.py"):
        assert not re.search(
            r"f[\"'][^\"'\n]*\b(SELECT|INSERT INTO|UPDATE|DELETE FROM)\b", path.read_text()
        ), path
