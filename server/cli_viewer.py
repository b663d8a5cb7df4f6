"""`radmeter viewer`: the optional image viewer under /ohif/."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from server.cli import explained_errors
from server.settings import load_settings

commands = typer.Typer(no_args_is_help=True)
GROUPS = {"viewer": commands}


@commands.callback()
def _group() -> None:
    """The optional image viewer (OHIF)."""


@commands.command("install")
def install(
    archive: Annotated[
        Path | None, typer.Option("--from", help="the package as a file; without it npm fetches it")
    ] = None,
) -> None:
    """Fetch the viewer into the data folder, check it, and serve it under /ohif/ from now on."""
    from server.viewer_install import PACKAGE, install_viewer

    with explained_errors():
        folder = load_settings().data_directory / "viewer"
        size = install_viewer(folder, archive)
        typer.echo(f"{PACKAGE} is installed in {folder} ({size >> 20} MiB)")
