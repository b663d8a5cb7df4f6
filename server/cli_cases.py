"""`radmeter site|outcome`: each site's part of a statement, and verdicts on results that are paid by their outcome."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from billing.contracts import store
from billing.errors import StatementNotFound, UsageEventNotFound
from billing.metering import meter, outcomes
from billing.metering.usage import Kind, UsageEvent, Verdict
from billing.queries import first_row
from billing.rating import sites
from billing.statements import paper_print, share_paper
from billing.statements.paper_xlsx import to_xlsx
from billing.statements.statement_text import safe_cell
from server.cli_admin import TenantOption, administration
from server.cli_billing import LanguageOption
from server.installation import FIRST_TENANT
from server.tables import show

site_commands = typer.Typer(no_args_is_help=True)
outcome_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"site": site_commands, "outcome": outcome_commands}


@site_commands.command("list")
def list_sites(statement_id: int, tenant: TenantOption = FIRST_TENANT) -> None:
    """What of a statement lies on each site; together it is the statement."""
    table = Table(
        "site", "department", *(Column(name, justify="right") for name in ("amount", "tax", "total"))
    )
    with administration(tenant) as conn:
        issued = store.get_statement(conn, tenant, statement_id)
    for one in issued.site_totals:
        table.add_row(one.site or "-", one.department, str(one.amount), str(one.tax), str(one.total))
    show(table, "Nothing on this statement lies on a site.")
    typer.echo(f"{issued.number}: {issued.total} {issued.currency}")


@site_commands.command("export")
def export_sites(
    statement_id: int,
    out: Annotated[Path, typer.Option(help="folder for the files")],
    site: Annotated[str, typer.Option(help="one site alone; every site without it")] = "",
    pdf: Annotated[bool, typer.Option(help="a PDF too; a second for each site")] = False,
    tenant: TenantOption = FIRST_TENANT,
    language: LanguageOption = "en",
) -> None:
    """Each site's part of an issued statement as CSV and XLSX, on wish as PDF."""
    with administration(tenant) as conn:
        one_site = [sites.of_site(conn, tenant, statement_id, site)] if site else []
        found = one_site or list(sites.of_statement(conn, tenant, statement_id))
    if not found:
        raise StatementNotFound(
            f"statement {statement_id} has no sites: its contract has no `site_statements`"
        )
    out.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(found, start=1):
        paper = share_paper.site_paper(one, language)
        # A site's id comes with usage: it never becomes a part of a path.
        name = out / f"{one.statement.number}-site-{number:03d}"
        name.with_suffix(".csv").write_bytes(paper_print.to_csv(paper))
        name.with_suffix(".xlsx").write_bytes(to_xlsx(paper, one.statement.issued_at))
        if pdf:
            html = paper_print.to_print_html(paper)
            name.with_suffix(".pdf").write_bytes(paper_print.to_pdf(html))
        typer.echo(f"{name.name}: {safe_cell(one.name)}: {one.total}")


@outcome_commands.command("record")
def record_outcome(
    source: str,
    event_id: str,
    verdict: Verdict,
    by: Annotated[str, typer.Option(help="who judged: never a party that is paid for the result")],
    at: Annotated[datetime | None, typer.Option(help="when, UTC; now without it")] = None,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Record the verdict on a delivered result, named by the source and id of its usage event."""
    now = datetime.now(UTC)
    with administration(tenant) as conn:
        row = first_row(conn, "usage_by_id", {"tenant": tenant, "source": source, "event_id": event_id})
        if row is None:
            raise UsageEventNotFound(f"no usage event {event_id!r} of source {source!r}")
        delivered = meter.event_of(row)
        # One verdict of a judge on a result, however often it is sent.
        said = "\0".join((source, event_id, verdict, by))
        outcome = UsageEvent(
            tenant=tenant,
            source="command-line",
            event_id=f"outcome:{hashlib.sha256(said.encode()).hexdigest()[:32]}",
            kind=Kind.OUTCOME,
            product=delivered.product,
            quantity=Decimal(1),
            occurred_at=at.replace(tzinfo=UTC) if at else now,
            study_ref=delivered.study_ref,
            case_key=delivered.case_key,
            dimensions={"verdict": verdict},
            evidence={"adjudicator": by},
        )
        meter.record(conn, outcome, received_at=now)
    typer.echo(f"{event_id}: {verdict}, judged by {by}")


@outcome_commands.command("settle")
def settle_outcomes(tenant: TenantOption = FIRST_TENANT) -> None:
    """Write `none` for every case whose window has passed without a verdict."""
    with administration(tenant) as conn:
        written = outcomes.settle_outcomes(conn, tenant, now=datetime.now(UTC))
    typer.echo(f"{written} case(s) without a verdict settled")
