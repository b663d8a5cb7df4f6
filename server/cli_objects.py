"""`radmeter objects`: what lies in the object store, and how an installation grows into one."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from pipeline.objects_check import check_objects
from server.cli import explained_errors
from server.errors import CommandFailed
from server.installation import owner_connection
from server.object_store import durable_store
from server.serve import with_database
from server.settings import load_settings
from storage.copy_objects import copy_objects
from storage.errors import ObjectStoreError

objects_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"objects": objects_commands}


@objects_commands.command("check")
def check(
    discard: Annotated[bool, typer.Option(help="remove the work of studies that have ended")] = False,
) -> None:
    """Compare the books with the store: what a row names must be there. Ends with 1 where something is missing."""
    with explained_errors(), with_database(load_settings()) as settings:
        store = durable_store(settings)
        try:
            with owner_connection(settings.database_url) as conn:
                tenants = [row["tenant"] for row in conn.execute("SELECT tenant FROM every_tenant()")]
            checked = check_objects(
                tenants, lambda tenant: owner_connection(settings.database_url, tenant), store
            )
            if discard:
                store.delete(checked.left_over)
        except ObjectStoreError as error:
            raise CommandFailed(str(error)) from None
    for problem in checked.problems:
        typer.echo(problem)
    left = f"{len(checked.left_over)} objects of work that nobody needs" + (" removed" if discard else "")
    typer.echo(f"{checked.named} objects named, {checked.problem_count} missing or of another size; {left}")
    if not checked.is_sound:
        raise typer.Exit(1)


@objects_commands.command("scrub")
def scrub(
    mib_s: Annotated[float, typer.Option(min=0.1, help="read so much a second")] = 50.0,
) -> None:
    """Read every stored file again from where the last pass stopped, and compare it with its row. Ends with 1 where a
    file has rotted or is missing, now or before."""
    from pipeline.limit_gate import tenants as every_tenant
    from pipeline.scrub import Pace, Scrubbed, rotten_files
    from pipeline.scrub import scrub as read_again
    from server import places

    done, known = Scrubbed(), 0
    with explained_errors(), with_database(load_settings()) as settings:
        pool = places.database(settings, pool_size_max=3)
        try:
            for tenant in every_tenant(pool):
                done += read_again(
                    pool, places.folders(settings), tenant, Pace(mib_s * (1 << 20)), now=pool.now()
                )
                with pool.transaction(tenant) as conn:
                    for one in rotten_files(conn, tenant):
                        typer.echo(
                            f"{one['found']}: {one['kind']} of study {one['study_id']}, tenant {tenant}"
                        )
                        known += 1
        finally:
            pool.close()
    typer.echo(f"{done.files} files read ({done.bytes >> 20} MiB), {known} are not what their rows say")
    if known:
        raise typer.Exit(1)


@objects_commands.command("copy")
def copy(
    to: Annotated[str, typer.Option(help="s3://bucket/prefix or file:///folder")],
    endpoint: Annotated[str, typer.Option(help="https://host of a store that is not Amazon's")] = "",
) -> None:
    """Copy all objects into another store; may be broken off and repeated. Nothing is removed where they lie now."""
    with explained_errors():
        settings = load_settings()
        target = replace(settings, objects=to, objects_endpoint=endpoint or settings.objects_endpoint)
        try:
            done = copy_objects(durable_store(settings), durable_store(target))
        except ObjectStoreError as error:
            raise CommandFailed(str(error)) from None
    typer.echo(f"{done.copied} objects copied ({done.size_bytes} bytes), {done.known} were there already")
