"""A database for one command, in a folder that is gone when the command ends."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg

from pipeline.migrations import migrate
from server.embedded_postgres import EmbeddedPostgres
from server.settings import load_settings


@contextmanager
def throwaway_connection() -> Iterator[psycopg.Connection[Any]]:
    """A migrated, empty database that no installation sees."""
    with tempfile.TemporaryDirectory(prefix="radmeter-", ignore_cleanup_errors=True) as folder:
        postgres = EmbeddedPostgres(replace(load_settings(), data_directory=Path(folder)), owns=True)
        try:
            migrate(postgres.url)
            with psycopg.connect(postgres.url) as conn:
                yield conn
        finally:
            postgres.stop()
