"""Statement as people and spreadsheets read it: HTML, PDF, CSV and plain text, in English or Chinese."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from billing.contracts.store import RecordedUsage
from billing.rating import explain
from billing.statements import paper_print, share_paper, statement_text
from billing.statements.paper import ROWS_MAX, Cell, Section, count, is_shortened, last_day
from billing.statements.paper import quantity as quantity_cell
from billing.statements.paper_xlsx import to_xlsx
from billing.statements.statement_paper import ALONE, StatementContext, explained, statement_paper, totals
from billing.statements.statement_record import Statement, StatementLine
from billing.statements.statement_text import labels


def render_html(statement: Statement, language: str = "en", context: StatementContext = ALONE) -> str:
    """The statement's body as an HTML fragment, to stand in a page."""
    return paper_print.to_html(statement_paper(statement, language, context))


def render_print_html(statement: Statement, language: str = "en", context: StatementContext = ALONE) -> str:
    """The same body as a whole document for paper (A4)."""
    return paper_print.to_print_html(statement_paper(statement, language, context))


def render_pdf(statement: Statement, language: str = "en", context: StatementContext = ALONE) -> bytes:
    """The statement on A4 pages; what is too much to print rides along in CSV files."""
    attachments, name = {}, statement.number or "draft"
    if len(statement.lines) > ROWS_MAX:
        attachments[f"{name}.csv"] = render_csv(statement, language)
    paper = statement_paper(statement, language, context)
    if is_shortened(paper):
        attachments[f"{name}-tables.csv"] = paper_print.to_csv(paper)
    return paper_print.to_pdf(render_print_html(statement, language, context), attachments)


def render_xlsx(statement: Statement, language: str = "en", context: StatementContext = ALONE) -> bytes:
    """The statement as a workbook, every line in it; see `paper_xlsx`."""
    return to_xlsx(statement_paper(statement, language, context, in_full=True), statement.issued_at)


def render_csv(statement: Statement, language: str = "en") -> bytes:
    """Lines, taxes and total, then what was not charged."""
    words, currency = labels(language), statement.currency
    rows: list[Sequence[Cell | str]] = [_CSV_HEADING]
    rows += [_csv_line(statement, line, language) for line in statement.lines]
    for total in totals(statement, words):
        blank = [""] * 5
        rows.append((total.kind, "", "", total.label, *blank, Cell(value=total.amount.amount), currency))
    for reason, events in statement.not_charged.items():
        text = explain.reason(reason, language)
        rows.append((
            "not_charged", "", reason, text, "", "", count(events), words["count"], "", count(0), currency,
        ))  # fmt: skip
    return paper_print.write_csv(rows)


def render_case_csv(statement: Statement, cases: Iterable[RecordedUsage], language: str = "en") -> bytes:
    """One row for each event behind the statement, charged or not; opaque references, no patient data.

    cases: from `store.usage_of_statement`.
    """
    zone = statement.period.time_zone
    rows: list[Sequence[Cell | str]] = [_CASE_HEADING]
    for case in cases:
        event, decision = case.event, case.decision
        rows.append((
            statement_text.local_time(event.occurred_at, zone), event.product, quantity_cell(event.quantity),
            event.study_ref, event.case_key, event.source, event.event_id, str(event.kind),
            str(decision.outcome), str(decision.reason_code), explain.reason(decision.reason_code, language),
        ))  # fmt: skip
    return paper_print.write_csv(rows)


def render_text(statement: Statement, language: str = "en", context: StatementContext = ALONE) -> str:
    """The statement for a terminal, 78 columns in English."""
    words, write = labels(language), []
    status = statement.number or words["draft"]
    write.append(f"{words['statement']} {status}")
    write.append(f"{words['seller']}: {statement.seller.name}")
    write.append(f"{words['buyer']}: {statement.payer.name}")
    write.append(f"{words['period']}: {statement_text.period(statement.period, language)}")
    if statement.due_on:
        write.append(f"{words['due_on']}: {statement_text.day(statement.due_on, language)}")
    write.append("")
    for line in statement.lines:
        write.append(_columns(f"{line.number}. {line.rated.title[language]}", str(line.rated.amount)))
        write.append(f"   {_line_note(line, language)}")
    if not statement.lines:
        write.append(words["no_lines"])
    write += ["", *(_columns(one.label, str(one.amount)) for one in totals(statement, words)), ""]
    for section in share_paper.sections(statement, language):
        write += [*_section_text(section), ""]
    for name, part in context.liability:
        write.append(f"{words['liability']}: {name} {statement_text.percent(part)}")
    for reason, events in statement.not_charged.items():
        write.append(f"{words['not_charged']}: {events} × {explain.reason(reason, language)}")
    write.append(words["not_a_tax_invoice"])
    return "\n".join(write) + "\n"


def _section_text(section: Section) -> list[str]:
    """The section's table under its heading, the last number of each row in the column of amounts."""
    if section.table is None:
        return [section.heading, *section.paragraphs]
    titles = ", ".join(column.title for column in section.table.columns)
    texts = [
        (", ".join(cell.full_text for cell in cells[:-1] if cell.full_text), cells[-1].text)
        for cells in section.table.rows
    ]
    return [f"{section.heading} ({titles})", *(_columns(f"  {text}", amount) for text, amount in texts)]


_CSV_HEADING = (
    "kind", "line", "product", "description", "service_start", "service_last_day", "quantity", "unit",
    "unit_price", "amount", "currency",
)  # fmt: skip
_CASE_HEADING = (
    "occurred_at", "product", "quantity", "study_ref", "case_key", "source", "event_id", "kind", "outcome",
    "reason_code", "reason",
)  # fmt: skip


def _csv_line(statement: Statement, line: StatementLine, language: str) -> Sequence[Cell | str]:
    rated = line.rated
    price = "" if rated.unit_price is None else Cell(value=rated.unit_price)
    return (
        rated.kind, count(line.number), rated.product, f"{rated.title[language]}: {explained(line, language)}",
        rated.service_start.isoformat(), last_day(rated.service_end).isoformat(), quantity_cell(rated.quantity),
        rated.unit[language], price, Cell(value=rated.amount.amount), statement.currency,
    )  # fmt: skip


def _line_note(line: StatementLine, language: str) -> str:
    rated = line.rated
    quantity = (
        f"{labels(language)['quantity']} {statement_text.number(rated.quantity)} ({rated.unit[language]})"
    )
    note = f"{quantity}: {explained(line, language)}"
    if rated.kind == "correction":
        note += f", {statement_text.days(rated.service_start, rated.service_end, language)}"
    return note


def _columns(text: str, amount: str) -> str:
    return f"{text:<62}{amount:>16}"
