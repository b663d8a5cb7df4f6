"""`radmeter statement credit|dispute|export` and `credit-note|dispute|fiscal|dunning`: what follows a statement."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from billing import credit_notes, disputes, document_json, dunning, fiscal, fiscal_csv, paper_print, store
from billing import statement_document as document
from billing.credit_note_paper import credit_note_paper, reminder_paper
from billing.statement_context import context_of
from server.cli_admin import TenantOption, administration
from server.cli_billing import LanguageOption, statement_commands
from server.document_files import Format, FormatOption, OutOption, makers_of, write_files
from server.document_options import parse_day, parse_line, parse_money
from server.installation import FIRST_TENANT

credit_note_commands = typer.Typer(help="Credit notes.", no_args_is_help=True)
dispute_commands = typer.Typer(help="Disputed lines of statements.", no_args_is_help=True)
fiscal_commands = typer.Typer(help="Tax documents (fapiao) and their numbers.", no_args_is_help=True)
dunning_commands = typer.Typer(help="Reminders of overdue statements.", no_args_is_help=True)
GROUPS = {
    "credit-note": credit_note_commands,
    "dispute": dispute_commands,
    "fiscal": fiscal_commands,
    "dunning": dunning_commands,
}

ReasonOption = Annotated[str, typer.Option(help="why; it is printed")]
ByOption = Annotated[str, typer.Option(help="who asks for it")]
ApprovedByOption = Annotated[str, typer.Option(help="who else approves it, above the contract's limit")]
LineOption = Annotated[
    list[str] | None,
    typer.Option(
        "--line", help="a line number for the rest of the line, 3=1/3 for a fraction, 3=100.00 before tax"
    ),
]


@statement_commands.command("credit")
def credit_statement(
    statement_id: int,
    reason: ReasonOption,
    by: ByOption,
    line: LineOption = None,
    amount: Annotated[str, typer.Option(help="instead of lines: this much, tax included")] = "",
    everything: Annotated[bool, typer.Option("--all", help="instead of lines: all that is left")] = False,
    approved_by: ApprovedByOption = "",
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Take back lines, an amount or all of a statement by a credit note."""
    if [bool(line), bool(amount), everything].count(True) != 1:
        raise typer.BadParameter("give --line, --amount or --all")
    approver = approved_by or None
    with administration(tenant) as conn:
        currency, now = store.get_statement(conn, tenant, statement_id).currency, datetime.now(UTC)
        if amount:
            asked = parse_money(amount, currency)
            note = credit_notes.issue_amount(
                conn, tenant, statement_id, asked, reason=reason, by=by, now=now, approved_by=approver
            )
        else:
            lines = [parse_line(text, currency) for text in line] if line else None
            note = credit_notes.issue(
                conn, tenant, statement_id, lines, reason=reason, by=by, now=now, approved_by=approver
            )
    typer.echo(f"credit note {note.credit_note_id}: {note.number}, {note.total} {note.currency}")


@statement_commands.command("dispute")
def dispute_statement(
    statement_id: int,
    reason: ReasonOption,
    by: ByOption,
    line: LineOption = None,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Open a dispute on lines of a statement, within the contract's window; the rest stays payable."""
    with administration(tenant) as conn:
        currency = store.get_statement(conn, tenant, statement_id).currency
        lines = [parse_line(text, currency) for text in line or ()]
        opened = disputes.open_dispute(
            conn, tenant, statement_id, lines, reason=reason, by=by, now=datetime.now(UTC)
        )
    typer.echo(f"dispute {opened.dispute_id}: {opened.total} {currency} of {opened.statement_number}")


@statement_commands.command("export")
def export_statement(
    statement_id: int,
    out: OutOption,
    what: FormatOption = None,
    tenant: TenantOption = FIRST_TENANT,
    language: LanguageOption = "en",
) -> None:
    """An issued statement as PDF, CSV, XLSX and JSON, with one CSV row for each case behind it."""
    with administration(tenant) as conn:
        issued = store.get_statement(conn, tenant, statement_id)
        context = context_of(conn, issued)
        cases = store.usage_of_statement(conn, tenant, issued)
    assert issued.number is not None
    makers: dict[Format, Callable[[], bytes]] = {
        Format.pdf: lambda: document.render_pdf(issued, language, context),
        Format.csv: lambda: document.render_csv(issued, language),
        Format.xlsx: lambda: document.render_xlsx(issued, language, context),
        Format.json: lambda: document_json.to_bytes(document_json.of_statement(issued, context)),
        Format.cases: lambda: document.render_case_csv(issued, cases, language),
    }
    write_files(out, issued.number, makers, what)


@credit_note_commands.command("list")
def list_credit_notes(tenant: TenantOption = FIRST_TENANT) -> None:
    """Credit notes, latest first."""
    with administration(tenant) as conn:
        for note in credit_notes.list_credit_notes(conn, tenant):
            typer.echo(
                f"{note.credit_note_id} {note.number} {note.total} {note.currency} on {note.statement_number}"
            )


@credit_note_commands.command("show")
def show_credit_note(
    credit_note_id: int, tenant: TenantOption = FIRST_TENANT, language: LanguageOption = "en"
) -> None:
    """A credit note in words."""
    with administration(tenant) as conn:
        note = credit_notes.get_credit_note(conn, tenant, credit_note_id)
    typer.echo(paper_print.to_text(credit_note_paper(note, language)))


@credit_note_commands.command("export")
def export_credit_note(
    credit_note_id: int,
    out: OutOption,
    what: FormatOption = None,
    tenant: TenantOption = FIRST_TENANT,
    language: LanguageOption = "en",
) -> None:
    """A credit note as PDF, CSV, XLSX and JSON."""
    with administration(tenant) as conn:
        note = credit_notes.get_credit_note(conn, tenant, credit_note_id)
    values = document_json.of_credit_note(note)
    write_files(out, note.number, makers_of(credit_note_paper(note, language), values, note.issued_at), what)


@dispute_commands.command("list")
def list_disputes(tenant: TenantOption = FIRST_TENANT) -> None:
    """Disputes, first opened first."""
    with administration(tenant) as conn:
        for one in disputes.list_disputes(conn, tenant):
            lines = ", ".join(str(line.number) for line in one.lines)
            typer.echo(
                f"{one.dispute_id} {one.state} {one.statement_number} line {lines}: {one.total}, {one.reason}"
            )


@dispute_commands.command("accept")
def accept_dispute(
    dispute_id: int,
    reason: ReasonOption,
    by: ByOption,
    line: LineOption = None,
    approved_by: ApprovedByOption = "",
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Give back what is disputed by a credit note; --line: only that much of it."""
    with administration(tenant) as conn:
        currency = disputes.get_dispute(conn, tenant, dispute_id).total.currency
        lines = [parse_line(text, currency) for text in line] if line else None
        decided = disputes.accept(
            conn, tenant, dispute_id, lines=lines, reason=reason, by=by, now=datetime.now(UTC),
            approved_by=approved_by or None,
        )  # fmt: skip
    typer.echo(f"dispute {dispute_id} is {decided.state} by credit note {decided.credit_note_id}")


@dispute_commands.command("reject")
def reject_dispute(
    dispute_id: int, reason: ReasonOption, by: ByOption, tenant: TenantOption = FIRST_TENANT
) -> None:
    """The lines stand as they were stated."""
    with administration(tenant) as conn:
        disputes.reject(conn, tenant, dispute_id, reason=reason, by=by, now=datetime.now(UTC))
    typer.echo(f"dispute {dispute_id} is rejected")


@fiscal_commands.command("request")
def request_fiscal(
    statement_ids: list[int],
    by: ByOption,
    total: Annotated[str, typer.Option(help="only this much of one statement, tax included")] = "",
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Ask for a tax document over statements, less their credit notes."""
    with administration(tenant) as conn:
        money = None
        if total:
            money = parse_money(total, store.get_statement(conn, tenant, statement_ids[0]).currency)
        asked = fiscal.request(conn, tenant, statement_ids, by=by, now=datetime.now(UTC), total=money)
    typer.echo(
        f"request {asked.fiscal_id}: {asked.total} {asked.total.currency} over {', '.join(asked.numbers)}"
    )


@fiscal_commands.command("cancel")
def cancel_fiscal(
    fiscal_id: int, reason: ReasonOption, by: ByOption, tenant: TenantOption = FIRST_TENANT
) -> None:
    """Ask for the red document that cancels a cleared one."""
    with administration(tenant) as conn:
        fiscal.request_red(conn, tenant, fiscal_id, reason=reason, by=by, now=datetime.now(UTC))
    typer.echo(f"request {fiscal_id} waits for its red document")


@fiscal_commands.command("list")
def list_fiscal(tenant: TenantOption = FIRST_TENANT) -> None:
    """Tax documents and how they stand."""
    with administration(tenant) as conn:
        for one in fiscal.list_fiscal(conn, tenant):
            numbers = " ".join(filter(None, (one.number, one.red_number)))
            typer.echo(
                f"{one.fiscal_id} {one.state} {one.total} over {', '.join(one.numbers)} {numbers}".rstrip()
            )


@fiscal_commands.command("export")
def export_fiscal(
    out: Annotated[Path, typer.Option(help="CSV file to write")], tenant: TenantOption = FIRST_TENANT
) -> None:
    """Everything that waits for the tax system, as CSV."""
    with administration(tenant) as conn:
        out.write_bytes(fiscal_csv.export(conn, tenant))
    typer.echo(f"written to {out}")


@fiscal_commands.command("import")
def import_fiscal(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    by: ByOption,
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Take over the numbers that the tax system gave, the whole file or nothing."""
    with administration(tenant) as conn, file.open("rb") as source:
        data = source.read(fiscal_csv.FILE_LENGTH_MAX + 1)
        count = fiscal_csv.take_in(conn, tenant, data, by=by, now=datetime.now(UTC))
    typer.echo(f"{count} document(s) moved")


@dunning_commands.command("run")
def run_dunning(
    as_of: Annotated[str, typer.Option(help="YYYY-MM-DD; today without it")] = "",
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Write the reminders that are due; the same day again writes nothing more."""
    now = datetime.now(UTC)
    with administration(tenant) as conn:
        written = dunning.run(conn, tenant, parse_day(as_of) if as_of else now.date(), now=now)
    for one in written:
        typer.echo(f"{one.number}: {one.payable} {one.currency} is {one.days_overdue} days overdue")
    typer.echo(f"{len(written)} reminder(s) written")


@dunning_commands.command("export")
def export_reminder(
    statement_id: int,
    level: int,
    out: OutOption,
    what: FormatOption = None,
    tenant: TenantOption = FIRST_TENANT,
    language: LanguageOption = "en",
) -> None:
    """A reminder as PDF, CSV, XLSX and JSON."""
    with administration(tenant) as conn:
        found = dunning.get_reminder(conn, tenant, statement_id, level)
    makers = makers_of(reminder_paper(found, language), document_json.of_reminder(found), found.written_at)
    write_files(out, found.number, makers, what)
