"""`radmeter statement credit|dispute|export`, `credit-note` and `dispute`: what follows a statement."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import typer

from billing.claims import credit_notes, credit_requests, disputes
from billing.claims.credit_note_paper import credit_note_paper
from billing.claims.credit_note_record import CreditNote
from billing.claims.credit_requests import CreditRequest
from billing.contracts import store
from billing.rating import sites
from billing.statements import document_json, paper_print
from billing.statements import statement_document as document
from billing.statements.statement_context import context_of
from server import confirm
from server.cli_admin import TenantOption, administration
from server.cli_billing import LanguageOption, statement_commands
from server.document_files import Format, FormatOption, OutOption, makers_of, write_files, zip_of_sites
from server.document_options import parse_line, parse_money
from server.installation import FIRST_TENANT

credit_note_commands = typer.Typer(no_args_is_help=True)
dispute_commands = typer.Typer(no_args_is_help=True)
GROUPS = {"credit-note": credit_note_commands, "dispute": dispute_commands}

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
    with administration(tenant) as conn:
        by = confirm.preparer(conn, tenant, by)
        approver = confirm.approver(conn, tenant, approved_by).name if approved_by else None
        currency, now = store.get_statement(conn, tenant, statement_id).currency, datetime.now(UTC)
        lines = [parse_line(text, currency) for text in line] if line else None
        done: CreditNote | CreditRequest
        if amount:
            asked = parse_money(amount, currency)
            done = credit_notes.issue_amount(
                conn, tenant, statement_id, asked, reason=reason, by=by, now=now, approved_by=approver
            )
        elif approver:
            done = credit_notes.issue(
                conn, tenant, statement_id, lines, reason=reason, by=by, now=now, approved_by=approver
            )
        else:
            done = credit_requests.issue_or_request(
                conn, tenant, statement_id, lines, reason=reason, by=by, now=now
            )
    if isinstance(done, CreditRequest):
        typer.echo(
            f"request {done.request_id} waits for another person: radmeter credit-note approve {done.request_id}"
        )
    else:
        typer.echo(f"credit note {done.credit_note_id}: {done.number}, {done.total} {done.currency}")


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
    """An issued statement as PDF, CSV, XLSX and JSON; one CSV row for each case; a workbook for each site."""
    with administration(tenant) as conn:
        issued = store.get_statement(conn, tenant, statement_id)
        context = context_of(conn, issued)
        cases = store.usage_of_statement(conn, tenant, issued)
        parts = sites.of_statement(conn, tenant, statement_id)
    assert issued.number is not None
    makers: dict[Format, Callable[[], bytes]] = {
        Format.pdf: lambda: document.render_pdf(issued, language, context),
        Format.csv: lambda: document.render_csv(issued, language),
        Format.xlsx: lambda: document.render_xlsx(issued, language, context),
        Format.json: lambda: document_json.to_bytes(document_json.of_statement(issued, context)),
        Format.cases: lambda: document.render_case_csv(issued, cases, language),
    }
    if parts:
        makers[Format.sites] = lambda: zip_of_sites(parts, language)
    write_files(out, issued.number, makers, what)


@credit_note_commands.command("list")
def list_credit_notes(tenant: TenantOption = FIRST_TENANT) -> None:
    """Credit notes, latest first."""
    with administration(tenant) as conn:
        for note in credit_notes.list_credit_notes(conn, tenant):
            typer.echo(
                f"{note.credit_note_id} {note.number} {note.total} {note.currency} on {note.statement_number}"
            )


@credit_note_commands.command("approve")
def approve_credit(
    request_id: int,
    by: Annotated[str, typer.Option(help="who approves it; not who asked for it")],
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Issue the credit note that somebody else asked for."""
    with administration(tenant) as conn:
        agreed = confirm.approver(conn, tenant, by)
        note = credit_requests.approve(conn, tenant, request_id, by=agreed.name, now=datetime.now(UTC))
    typer.echo(f"credit note {note.credit_note_id}: {note.number}, {note.total} {note.currency}")


@credit_note_commands.command("refuse")
def refuse_credit(
    request_id: int,
    by: Annotated[str, typer.Option(help="who refuses it; not who asked for it")],
    tenant: TenantOption = FIRST_TENANT,
) -> None:
    """Nothing is credited."""
    with administration(tenant) as conn:
        agreed = confirm.approver(conn, tenant, by)
        credit_requests.refuse(conn, tenant, request_id, by=agreed.name, now=datetime.now(UTC))
    typer.echo(f"request {request_id} is refused")


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
        by = confirm.preparer(conn, tenant, by)
        agreed = confirm.approver(conn, tenant, approved_by).name if approved_by else None
        decided = disputes.accept(
            conn, tenant, dispute_id, lines=lines, reason=reason, by=by, now=datetime.now(UTC),
            approved_by=agreed,
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
