"""Makes a data directory and its database ready: migrations, the first tenant, the first admin."""

from __future__ import annotations

import psycopg
from psycopg.rows import dict_row

from pipeline import nodes
from pipeline.database import Connection
from server.settings import Settings

# What makes an installation is imported where it is made: most commands only ask for a connection.
FIRST_TENANT = "default"


def owner_connection(database_url: str, tenant: str = FIRST_TENANT) -> Connection:
    """A connection as the schema's owner, for administration; it sees `tenant`'s rows."""
    conn: Connection = psycopg.connect(database_url, row_factory=dict_row)
    conn.execute("SELECT set_config('radmeter.tenant', %s, false)", (tenant,))
    conn.commit()
    return conn


def prepare(settings: Settings) -> str | None:
    """Bring the database up to date and make the first tenant; returns the first admin's password if new."""
    from pipeline.migrations import migrate
    from portal.auth import create_first_admin

    migrate(settings.database_url)
    install_wanted_heartbeat(settings)
    with owner_connection(settings.database_url) as conn:
        create_tenant(conn, FIRST_TENANT, "Default", settings.called_ae_title)
        # Associations that were open when this machine was killed; `lost_associations` ends those of others.
        conn.execute(
            """UPDATE association SET closed_at = now(), how = 'lost'
               WHERE closed_at IS NULL AND (node IS NULL OR starts_with(node, %s))""",
            (f"{nodes.host_name()} ",),
        )
        return create_first_admin(conn, FIRST_TENANT)


def install_wanted_heartbeat(settings: Settings) -> bool:
    """Make what the heartbeat needs where the settings want one; whether it was not there yet."""
    if not settings.heartbeat_minutes:
        return False
    from pipeline.heartbeat import install as install_heartbeat

    with owner_connection(settings.database_url) as conn:
        return install_heartbeat(conn, port=settings.dicom_port)


def create_tenant(
    conn: Connection, tenant: str, name: str, called_ae_title: str, language: str = "en"
) -> None:
    """Make the tenant unless it exists."""
    conn.execute("SELECT set_config('radmeter.tenant', %s, false)", (tenant,))
    conn.execute(
        """INSERT INTO tenant (tenant, name, called_ae_title, language) VALUES (%s, %s, %s, %s)
           ON CONFLICT (tenant) DO NOTHING""",
        (tenant, name, called_ae_title, language),
    )
