"""A portal over a real PostgreSQL with two tenants."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row

from pipeline.database import Database
from pipeline.migrations import migrate
from portal.context import PortalContext
from tests.portal.portal_site import Site


@pytest.fixture(scope="session")
def migrated_template(postgres_url: str) -> Iterator[str]:
    """Name of a database with the current schema, to copy: ten times as fast as migrating for each test."""
    name = f"template_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"')
        migrate(_url_of(postgres_url, name))
        yield name
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def migrated_url(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """URL of a fresh database with the current schema."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{migrated_template}"')
        yield _url_of(postgres_url, name)
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _url_of(postgres_url: str, database: str) -> str:
    return postgres_url.replace("/postgres?", f"/{database}?")


@pytest.fixture
def site(migrated_url: str, tmp_path: Path) -> Iterator[Site]:
    database = Database(migrated_url, pool_size_max=4)
    owner = psycopg.connect(migrated_url, autocommit=True, row_factory=dict_row)
    made = Site(database, PortalContext(database, tmp_path), owner)
    made.add_tenant("alpha")
    made.add_tenant("beta", language="zh")
    yield made
    owner.close()
    database.close()
