"""The command `radmeter`. Errors go to stderr with an exit code other than 0."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from server.command_groups import Program
from server.errors import ServerError
from server.settings import load_settings

app = typer.Typer(
    name="radmeter",
    cls=Program,
    help="Imaging-AI inference server with a meter.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@contextmanager
def explained_errors() -> Iterator[None]:
    """Turn what a user can mend into one line on stderr and exit code 1."""
    import psycopg

    from billing.errors import BillingError
    from inference.errors import InferenceError
    from models.errors import ModelError
    from pipeline.errors import PipelineError
    from portal.errors import PortalError
    from study.errors import StudyError

    try:
        yield
    except (
        ServerError,
        BillingError,
        InferenceError,
        ModelError,
        PipelineError,
        PortalError,
        StudyError,
        OSError,
        UnicodeDecodeError,
    ) as error:
        _fail(str(error))
    except psycopg.errors.UndefinedTable:
        _fail("the database has no tables yet: run `radmeter migrate`")
    except psycopg.Error as error:
        _fail(error.diag.message_primary or str(error).strip())


def _fail(message: str) -> NoReturn:
    typer.echo(f"radmeter: {message}", err=True)
    raise typer.Exit(1) from None


@app.command()
def serve(
    role: Annotated[str, typer.Option(help="all, gateway, worker, portal, triton or backup")] = "all",
) -> None:
    """Run the server: everything on one machine by default."""
    from server.serve import serve as run

    with explained_errors():
        run(load_settings(), role)


@app.command()
def send(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="DICOM files or folders")],
    to: Annotated[str, typer.Option(help="AE@host:port of the receiver, or https://host/dicom-web")],
    calling: Annotated[str, typer.Option(help="our AE title, for AE@host:port")] = "RADMETER_SCU",
    key: Annotated[
        str, typer.Option(envvar="RADMETER_KEY", help="API key, for https:// (the variable keeps it private)")
    ] = "",
    authority: Annotated[
        Path | None, typer.Option(exists=True, help="PEM file: whose certificates are trusted, for https://")
    ] = None,
    clear_text: Annotated[bool, typer.Option(help="allow http:// to another machine")] = False,
) -> None:
    """Push DICOM as a PACS would, with a progress bar. Exit code 1 unless everything was accepted."""
    from server.send import is_url, parse_address, parse_url
    from server.send import send as run

    with explained_errors():
        if is_url(to):
            failed = run(paths, parse_url(to, key, authority, allows_clear_text=clear_text))
        else:
            failed = run(paths, parse_address(to, calling))
    if failed:
        raise typer.Exit(1)


@app.command()
def analyze(
    path: Annotated[Path, typer.Argument(exists=True, help="DICOM file or folder of one study")],
    out: Annotated[Path, typer.Option(help="folder for JSON, SR, SEG, PDF and PNG")],
    model: Annotated[str, typer.Option(help="name of the model")] = "lung_nodule_ct",
    language: Annotated[str, typer.Option(help="en or zh")] = "en",
    prior: Annotated[
        Path | None, typer.Option(exists=True, help="file or folder of an earlier study to compare with")
    ] = None,
) -> None:
    """Analyze one study without a server. Exit code 0 completed, 3 rejected, 4 failed."""
    from rich.console import Console

    from server.analyze import analyze as run
    from server.analyze import clearance_of
    from server.analyze_summary import show_summary

    with explained_errors():
        result = run(path, out, model_name=model, language=language, prior=prior)
    if result["status"] == "completed":
        show_summary(result, out, clearance_of(model), Console())
    typer.echo(f"{result['status']}: {out / 'result.json'}")
    if result["reason"]:
        typer.echo(f"{result['reason']['code']}: {result['reason']['text']}", err=True)
    sys.exit({"completed": 0, "rejected": 3}.get(result["status"], 4))


@app.command()
def demo(
    study: Annotated[
        Path | None, typer.Argument(exists=True, help="your own study; a phantom is made without one")
    ] = None,
    again: Annotated[bool, typer.Option(help="send the study a second time at the end")] = False,
    stay: Annotated[bool, typer.Option(help="leave the report page running until Ctrl-C")] = True,
) -> None:
    """Run the main job: a study in, a result back, a statement out."""
    from server.demo.run import run

    with explained_errors():
        code = run(study, again=again, stay=stay)
    raise typer.Exit(code)


@app.command()
def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="change nothing; exit code 1 until this version can serve on it")
    ] = False,
    wait_s: Annotated[
        float | None,
        typer.Option(
            min=0, help="seconds to wait for another migration under way (600), or for the check (0)"
        ),
    ] = None,
    mark: Annotated[str, typer.Option(help="note this migration as applied without applying it")] = "",
) -> None:
    """Bring the database to the current schema. Several at once wait for one another."""
    from server.serve import with_database

    with explained_errors(), with_database(load_settings()) as settings:
        if check:
            from server.schema_gate import await_schema

            await_schema(settings.database_url, wait_s=wait_s or 0.0)
            typer.echo("the schema is as this version needs it")
            return
        from pipeline import migrations

        if mark:
            migrations.mark_applied(settings.database_url, mark)
            typer.echo(f"{mark} is noted as applied")
            return
        wanted_s = migrations.WAIT_S if wait_s is None else wait_s
        count = migrations.migrate(settings.database_url, wait_s=wanted_s, tell=typer.echo)
        typer.echo(f"{count} migrations applied")
        if settings.heartbeat_minutes:
            from server.installation import install_wanted_heartbeat

            if install_wanted_heartbeat(settings):
                typer.echo("the heartbeat is installed")


# Last: these modules need what stands above.
from server import cli_backup, cli_query, cli_watch  # noqa: E402

for command in (cli_backup.restore, cli_watch.status, cli_watch.doctor, cli_query.query, cli_query.fetch):
    app.command()(command)
