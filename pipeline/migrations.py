"""Brings a database to the current schema: yoyo-migrations over the SQL of pipeline and billing."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from yoyo import get_backend, read_migrations

_ROOT = Path(__file__).resolve().parent.parent
MIGRATION_FOLDERS = (_ROOT / "pipeline/sql/migrations", _ROOT / "billing/sql/migrations")


def migrate(database_url: str) -> int:
    """Apply what is missing, in order, under yoyo's lock; returns how many migrations were applied."""
    backend = get_backend(_yoyo_url(database_url))
    try:
        migrations = read_migrations(*(str(folder) for folder in MIGRATION_FOLDERS))
        with backend.lock():
            missing = backend.to_apply(migrations)
            backend.apply_migrations(missing)
            return len(missing)
    finally:
        backend.connection.close()


def pending(database_url: str) -> list[str]:
    """Names of migrations that the database does not have yet."""
    backend = get_backend(_yoyo_url(database_url))
    try:
        migrations = read_migrations(*(str(folder) for folder in MIGRATION_FOLDERS))
        return [migration.id for migration in backend.to_apply(migrations)]
    finally:
        backend.connection.close()


def _yoyo_url(database_url: str) -> str:
    """yoyo picks its driver by the scheme: psycopg 3."""
    parts = urlsplit(database_url)
    return urlunsplit(("postgresql+psycopg", *parts[1:]))
