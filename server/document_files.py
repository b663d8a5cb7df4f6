"""Writes a document as the files that were asked for."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from billing.rating.sites import SiteStatement
from billing.statements import document_json, paper_print
from billing.statements.paper import Paper
from billing.statements.paper_xlsx import to_xlsx
from billing.statements.share_paper import site_paper
from server.errors import CommandFailed


class Format(StrEnum):
    """What a document can be written as."""

    pdf = "pdf"
    csv = "csv"
    xlsx = "xlsx"
    json = "json"
    cases = "cases"
    sites = "sites"


_SUFFIXES = {Format.cases: "-cases.csv", Format.sites: "-sites.zip"}
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
        suffix = _SUFFIXES.get(one, f".{one}")
        (out / f"{name}{suffix}").write_bytes(makers[one]())
    typer.echo(f"{name} written to {out}")


def zip_of_sites(parts: Sequence[SiteStatement], language: str) -> bytes:
    """For each site a workbook and a JSON file; the same parts give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for position, part in enumerate(parts, start=1):
            safe = "".join(c if c.isalnum() or c in "-_" else "_" for c in part.site)
            made_at = part.statement.issued_at
            for suffix, content in (
                ("xlsx", to_xlsx(site_paper(part, language), made_at)),
                ("json", document_json.to_bytes(document_json.of_site(part))),
            ):
                # A plain ZipInfo says 1980: nothing of when the file was written is in it.
                archive.writestr(zipfile.ZipInfo(f"{position:04d}-{safe}.{suffix}"), content)
    return buffer.getvalue()
