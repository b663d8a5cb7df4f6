"""`radmeter keys`: the keys that seal what is stored, and their rotation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipeline.database import Connection
from pipeline.protection import rotation
from pipeline.protection.master_keys import MasterKeys, load_master_keys, make_master_key
from pipeline.protection.sealed_text import seal_columns_anew
from server import places
from server.cli import explained_errors
from server.errors import CommandFailed
from server.installation import owner_connection
from server.protection import seal_anew
from server.serve import with_database
from server.settings import Settings, load_settings

key_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"keys": key_commands}

TenantChoice = Annotated[str | None, typer.Option("--tenant", help="one tenant alone; else every one")]


@key_commands.command("init")
def init(
    path: Annotated[
        Path, typer.Argument(help="the file to make, outside the data directory and the database")
    ],
) -> None:
    """Make a master key: 32 random bytes in a file that its owner alone can read. Keep a copy elsewhere."""
    with explained_errors():
        key = make_master_key(path)
    typer.echo(f"master key {key.id} is in {path}")
    typer.echo(f"RADMETER_MASTER_KEYS={path.resolve()} seals what is stored from the next start on.")
    typer.echo(
        "Without this file nothing that was sealed can ever be read: keep a copy where no backup lies."
    )


@key_commands.command("status")
def status(tenant: TenantChoice = None) -> None:
    """Master keys, the keys of each tenant, and what a rotation has left to do."""
    with _keys() as (settings, masters, conn):
        for number, path in enumerate(settings.master_key_files):
            typer.echo(
                f"master key {masters.keys[number].id} {'current' if number == 0 else 'former'}  {path}"
            )
        columns = ("tenant", "keys", "former master", "data keys", "to wrap anew", "to seal anew", "shredded")
        table = Table(*columns)
        for name in _tenants(conn, tenant):
            with _of_tenant(conn, name):
                counts = rotation.count_keys(conn, name, masters.current_id)
            table.add_row(
                name,
                str(counts.tenant_keys),
                ", ".join(counts.other_masters),
                *map(str, (counts.data_keys, counts.behind, counts.retired, counts.shredded)),
            )
    Console().print(table)


@key_commands.command("rotate")
def rotate(
    tenant: TenantChoice = None,
    data: Annotated[bool, typer.Option(help="data keys too: objects are sealed anew by and by")] = False,
) -> None:
    """Put new keys of the tenants in force and wrap their data keys anew. A master key is rotated by its file.

    Of a master key: make a new file by `init`, name it first in RADMETER_MASTER_KEYS and the former one after it,
    start again, then `radmeter keys rewrap`.
    """
    with _keys() as (_, masters, conn):
        for name in _tenants(conn, tenant):
            with _of_tenant(conn, name):
                rotation.rotate_tenant_key(conn, masters, name)
                retired = rotation.retire_data_keys(conn, name) if data else 0
            _rewrap(conn, masters, name)
            typer.echo(f"{name}: a new key is in force" + (f", {retired} data keys retired" if data else ""))


@key_commands.command("rewrap")
def rewrap(tenant: TenantChoice = None) -> None:
    """Bring every key under the current one above it, and seal secrets that are plain or under former keys."""
    with _keys() as (_, masters, conn):
        for name in _tenants(conn, tenant):
            typer.echo(f"{name}: {_rewrap(conn, masters, name)} keys and secrets brought up to date")


@key_commands.command("seal")
def seal(tenant: TenantChoice = None) -> None:
    """Seal every object that lies plain or under a former key. Workers do the latter by themselves, by and by."""
    with _keys() as (settings, _, conn), closing(places.database(settings, pool_size_max=2)) as pool:
        sealing = seal_anew(settings, pool)
        if sealing is None:
            raise CommandFailed("RADMETER_OBJECTS names no store: what lies in the data folder is not sealed")
        for name in _tenants(conn, tenant):
            done, left = sealing.seal_everything(name, now=datetime.now(UTC))
            later = f", {left} have something that is younger than an hour or damaged" if left else ""
            typer.echo(f"{name}: {done} studies and parts of them are sealed under keys in force{later}")


def _rewrap(conn: Connection, masters: MasterKeys, tenant: str) -> int:
    with _of_tenant(conn, tenant):
        count = rotation.rewrap_tenant_keys(conn, masters, tenant)
    while True:  # in small transactions: who seals meanwhile never waits long
        with _of_tenant(conn, tenant):
            wrapped = rotation.rewrap_data_keys(conn, masters, tenant)
        if not wrapped:
            break
        count += wrapped
    with _of_tenant(conn, tenant):
        return count + seal_columns_anew(conn, masters, tenant)


@contextmanager
def _keys() -> Iterator[tuple[Settings, MasterKeys, Connection]]:
    with explained_errors(), with_database(load_settings()) as settings:
        masters = load_master_keys(settings.master_key_files)
        if masters is None:
            raise CommandFailed("RADMETER_MASTER_KEYS names no key: `radmeter keys init FILE` makes one")
        with owner_connection(settings.database_url) as conn:
            yield settings, masters, conn


def _tenants(conn: Connection, wanted: str | None) -> list[str]:
    known = [row["tenant"] for row in conn.execute("SELECT tenant FROM every_tenant() ORDER BY 1").fetchall()]
    conn.commit()
    if wanted is not None and wanted not in known:
        raise CommandFailed(f"no tenant {wanted}")
    return known if wanted is None else [wanted]


@contextmanager
def _of_tenant(conn: Connection, tenant: str) -> Iterator[None]:
    """One transaction of the schema's owner in which it sees the rows of `tenant`."""
    with conn.transaction():
        conn.execute("SELECT set_config('radmeter.tenant', %s, true)", (tenant,))
        yield
