"""A database whose owner is an ordinary role, as hospitals give it: no superuser, no BYPASSRLS."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from pipeline import peers
from pipeline.database import Database
from pipeline.migrations import migrate, pending
from portal import auth
from server.installation import create_tenant, owner_connection


@pytest.fixture
def ordinary_owner_url(database_url: str) -> Iterator[str]:
    """URL of an empty database that a login role without special rights owns.

    The role may create roles, as the first migration makes radmeter_app where a DBA has not.
    """
    owner = f"owner_{uuid.uuid4().hex[:12]}"
    name = urlsplit(database_url).path.strip("/")
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {owner} LOGIN CREATEROLE NOSUPERUSER NOBYPASSRLS")
        # Another database of this server may have made the role already; then its DBA grants it.
        if admin.execute("SELECT 1 FROM pg_roles WHERE rolname = 'radmeter_app'").fetchone():
            admin.execute(f"GRANT radmeter_app TO {owner} WITH ADMIN OPTION")
        admin.execute(f'ALTER DATABASE "{name}" OWNER TO {owner}')
        admin.execute(f"ALTER SCHEMA public OWNER TO {owner}")
    parts = urlsplit(database_url)
    yield urlunsplit((parts.scheme, f"{owner}@", *parts[2:]))
    with psycopg.connect(database_url, autocommit=True) as admin:
        admin.execute(f"DROP OWNED BY {owner} CASCADE")
        admin.execute(f'ALTER DATABASE "{name}" OWNER TO CURRENT_USER')
        admin.execute(f"DROP ROLE {owner}")


def test_an_ordinary_owner_can_migrate_and_serve(ordinary_owner_url: str) -> None:
    migrate(ordinary_owner_url)
    assert pending(ordinary_owner_url) == []
    with owner_connection(ordinary_owner_url, "alpha") as conn:
        create_tenant(conn, "alpha", "Alpha", "ALPHA")
        peers.save_peer(conn, "alpha", ae_title="PACS", host="127.0.0.1", port=104)
        assert auth.create_first_admin(conn, "alpha") is not None
    with owner_connection(ordinary_owner_url, "beta") as conn:
        create_tenant(conn, "beta", "Beta", "BETA")
    database = Database(ordinary_owner_url, pool_size_max=2)
    try:
        with database.system_transaction() as conn:
            found = conn.execute("SELECT tenant FROM find_peer('ALPHA', 'PACS')").fetchall()
            assert found == [{"tenant": "alpha"}]
            assert conn.execute("SELECT name FROM find_portal_user('admin')").fetchall() == [
                {"name": "admin"}
            ]
            assert conn.execute("SELECT * FROM peer").fetchall() == []
        with database.transaction("beta") as conn:
            assert peers.list_peers(conn, "alpha") == []
            assert conn.execute("SELECT * FROM peer").fetchall() == []
        with database.transaction("alpha") as conn:
            assert [peer["ae_title"] for peer in peers.list_peers(conn, "alpha")] == ["PACS"]
    finally:
        database.close()
