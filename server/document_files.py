"""Writes a document as the files that were asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from billing import document_json, paper_print
from billing.paper import Paper
from billing.paper_xlsx import to_xlsx
from server.errors import CommandFailed


class Format(StrEnum):
    """What a document can be written as."""

    pdf = "pdf"
    csv = "csv"
    xlsx = "xlsx"
    json = "json"
    cases = "cases"


Makers = Mapping[Format, Callable[[], bytes]]
OutOption = Annotated[Path, typer.Option(help="folder for the files")]
FormatOption = Annotated[list[Format] | None, typer.Option("--format", help="again for each; all without it")]


def makers_of(paper: Paper, values: dict[str, Any], made_at: datetime) -> Makers:
    """How each file of a paper is made. values: its JSON."""
    return {
        Format.pdf: lambda: paper_print.paper_to_pdf(paper),
        Format.csv: lambda: paper_print.to_csv(paper),
        Format.xlsx: lambda: to_xlsx(paper, made_at),
        Format.json: lambda: document_json.to_bytes(values),
    }


def write_files(out: Path, name: str, makers: Makers, wanted: Sequence[Format] | None) -> None:
    """Write `name` in the wanted formats, or in all that there are, into the folder `out`."""
    missing = [one for one in wanted or () if one not in makers]
    if missing:
        raise CommandFailed(f"{name} has no form {missing[0]}; it has {', '.join(makers)}")
    out.mkdir(parents=True, exist_ok=True)
    for one in wanted or makers:
        suffix = "-cases.csv" if one is Format.cases else f".{one}"
        (out / f"{name}{suffix}").write_bytes(makers[one]())
    typer.echo(f"{name} written to {out}")
