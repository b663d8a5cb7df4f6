"""A portal over a real PostgreSQL with two tenants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row

from pipeline.database import Database
from portal.context import PortalContext
from tests.portal.portal_site import Site


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
