"""`radmeter status` and `radmeter doctor`: how things are, what is wrong, what to do."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from server.cli import explained_errors
from server.errors import CommandFailed
from server.settings import Settings, load_settings

_PAUSE_S = 5.0


def status(
    as_json: Annotated[bool, typer.Option("--json", help="everything as JSON, for programs")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="draw it again every five seconds until Ctrl-C")
    ] = False,
) -> None:
    """What needs somebody first, with what to do, then how things are: processes, queue, studies, deliveries, money."""
    from server import status_screen
    from server.doctor import ground_of
    from server.status import gather

    with explained_errors():
        settings = _installation()
        console = Console(highlight=False, soft_wrap=True)
        while True:
            with ground_of(settings) as ground:
                found = gather(ground)
            if as_json:
                typer.echo(json.dumps(status_screen.as_json(found), indent=2, ensure_ascii=False))
            else:
                if watch:
                    console.clear()
                console.print(status_screen.draw(found))
            if not watch:
                break
            time.sleep(_PAUSE_S)


def doctor(
    deep: Annotated[
        bool,
        typer.Option("--deep", help="also books, audit chain, engine, Triton, objects, and each destination"),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="the verdicts as JSON, for programs")] = False,
    bundle: Annotated[
        Path | None, typer.Option(help="write a zip for the makers, without data of patients and secrets")
    ] = None,
    log: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, help="log file for the bundle; several may be given"),
    ] = None,
) -> None:
    """Look at this installation: what is wrong, what it means, what to do. Exit code 1 when something is wrong."""
    from server.doctor import examine
    from server.support_bundle import write_bundle

    with explained_errors():
        settings = _installation()
        if bundle is not None:
            write_bundle(settings, bundle, log or [], deep=deep)
            typer.echo(f"{bundle} is written; it holds no data of patients and no secrets")
            return
        healthy = examine(settings, deep=deep, as_json=as_json)
    if not healthy:
        raise typer.Exit(1)


def _installation() -> Settings:
    settings = load_settings()
    if not settings.data_directory.exists():
        raise CommandFailed(f"there is no installation in {settings.data_directory}")
    return settings
