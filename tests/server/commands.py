"""Commands in this process, as typed."""

from __future__ import annotations

from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from server.cli import app


def run(*arguments: str | Path, entered: str | None = None) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=entered)


def done(*arguments: str | Path, entered: str | None = None) -> str:
    """What it says where it ends well."""
    result = run(*arguments, entered=entered)
    assert result.exit_code == 0, result.output
    return result.stdout


def failed(*arguments: str | Path) -> str:
    """What it says where it does nothing."""
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return result.stderr
