"""A hospital's database and the environment of commands that work on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest


@pytest.fixture
def owner(migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    for name in list(os.environ):
        if name.startswith("RADMETER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RADMETER_DATA", str(tmp_path))
    monkeypatch.setenv("RADMETER_DATABASE_URL", migrated_url)
    monkeypatch.setenv("COLUMNS", "200")
    with psycopg.connect(migrated_url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO tenant (tenant, name, called_ae_title) VALUES ('default', 'Clinic', 'RADMETER')"
        )
        yield conn
