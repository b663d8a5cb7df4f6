"""The statement as a paper: its lines, what was not charged, and what came after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from billing.claims.credit_note_record import CreditNote
from billing.contracts.party_terms import Party
from billing.money import Money
from billing.rating import explain
from billing.statements import share_paper, statement_text
from billing.statements.paper import (
    ROWS_MAX,
    Cell,
    Column,
    Fact,
    Paper,
    Section,
    Table,
    Total,
    count,
    day,
    last_day,
    money,
    price,
    quantity,
    row,
    without_empty,
)
from billing.statements.statement_record import Statement, StatementLine
from billing.statements.statement_text import labels


@dataclass(frozen=True)
class StatementContext:
    """What is known beside a statement when it is shown; none of it is part of what was issued.

    credit_notes: on it so far. open_amount: what is still to be paid, None where that is not told. disputed: of it.
    liability: (party's name, its share) as the contract says.
    """

    credit_notes: Sequence[CreditNote] = ()
    open_amount: Money | None = None
    disputed: Money | None = None
    liability: Sequence[tuple[str, Decimal]] = ()


ALONE = StatementContext()


def statement_paper(
    statement: Statement, language: str, context: StatementContext = ALONE, *, in_full: bool = False
) -> Paper:
    """in_full: every line, for a file; else a statement of more than `ROWS_MAX` lines is summed by item."""
    words = labels(language)
    is_issued = statement.number is not None
    is_summed = len(statement.lines) > ROWS_MAX and not in_full
    notices = [words["too_long"].format(count=len(statement.lines))] if is_summed else []
    return Paper(
        language=language,
        title=words["statement"],
        number=statement.number,
        headline=Total("total", words["total" if is_issued else "draft_total"], statement.total),
        parties=_parties(statement, words),
        facts=_facts(statement, words, language),
        table=(_summary if is_summed else _lines)(statement, words, language),
        sections=_sections(statement, context, words, language),
        foot=without_empty((
            words["not_a_tax_invoice"],
            words["no_patient_data"],
            words["closed_early"] if statement.is_closed_early else "",
            f"{words['check']}: {statement.inputs_digest[:16]} {statement.output_digest[:16]}",
        )),
        draft_note=words["draft_note"],
        running=words["not_a_tax_invoice"],
        notices=tuple(notices),
    )  # fmt: skip


def totals(statement: Statement, words: dict[str, str]) -> tuple[Total, ...]:
    """Subtotal, each tax, and total."""
    found = [Total("subtotal", words["subtotal"], statement.subtotal)]
    for tax in statement.taxes:
        label = f"{tax.name} {statement_text.percent(tax.rate)} {words['tax_on']} {tax.base}"
        found.append(Total("tax", label, tax.tax))
    total = words["total" if statement.number is not None else "draft_total"]
    return (*found, Total("total", f"{total} ({statement.currency})", statement.total))


def explained(line: StatementLine, language: str) -> str:
    return explain.line(line.rated.explanation, language)


def _parties(statement: Statement, words: dict[str, str]) -> tuple[tuple[str, Party], ...]:
    """Who asks and who owes; whom it was done for, where that is somebody else."""
    two = ((words["seller"], statement.seller), (words["buyer"], statement.payer))
    return two if statement.payer.id == statement.buyer.id else (*two, (words["customer"], statement.buyer))


def _facts(statement: Statement, words: dict[str, str], language: str) -> tuple[Fact, ...]:
    period, facts = statement.period, []
    if statement.issued_at:
        issued_on = statement_text.local_day(statement.issued_at, period.time_zone, language)
        facts.append(Fact(words["issued_on"], issued_on))
    if statement.due_on:
        facts.append(Fact(words["due_on"], statement_text.day(statement.due_on, language)))
    days = statement_text.days(period.starts_on, period.ends_on, language)
    version = f"{words['version']} {statement.contract_version}"
    return (
        *facts,
        Fact(words["period"], days, period.time_zone),
        Fact(words["contract"], statement.contract_name, version),
        Fact(words["currency"], statement.currency),
    )


def _lines(statement: Statement, words: dict[str, str], language: str) -> Table:
    columns = (
        Column("line", words["line"], is_number=True),
        Column("kind", words["kind"], is_printed=False),
        Column("product", words["product"], is_printed=False),
        Column("description", words["description"]),
        Column("service_start", words["service_start"], is_printed=False),
        Column("service_last_day", words["service_last_day"], is_printed=False),
        Column("quantity", words["quantity"], is_number=True),
        Column("unit", words["unit"]),
        Column("unit_price", words["unit_price"], is_number=True),
        Column("amount", words["amount"], is_number=True),
    )
    rows = tuple(_line(line, words, language) for line in statement.lines)
    return Table(columns, rows, totals(statement, words), words["no_lines"], words["statement"])


def _line(line: StatementLine, words: dict[str, str], language: str) -> tuple[Cell, ...]:
    rated = line.rated
    is_correction = rated.kind == "correction"
    span = statement_text.days(rated.service_start, rated.service_end, language)
    description = Cell(
        rated.title[language],
        lead=f"{words['correction']}." if is_correction else "",
        notes=without_empty((
            explained(line, language), f"{words['service_period']}: {span}" if is_correction else "",
        )),
    )  # fmt: skip
    return row(
        count(line.number), rated.kind, rated.product, description, day(rated.service_start),
        day(last_day(rated.service_end)), quantity(rated.quantity), rated.unit[language],
        price(rated.unit_price), money(rated.amount),
    )  # fmt: skip


def _summary(statement: Statement, words: dict[str, str], language: str) -> Table:
    """Lines summed by kind and item, in the order in which they first come; the last row takes in what is too much."""
    groups: dict[tuple[str, str, str, date | None], list[StatementLine]] = {}
    for line in statement.lines:
        rated = line.rated
        service = rated.service_start if rated.kind == "correction" else None
        key = (rated.kind, rated.title[language], rated.unit[language], service)
        if key not in groups and len(groups) >= ROWS_MAX - 1:
            key = ("", words["further_items"], "", None)
        groups.setdefault(key, []).append(line)
    columns = (
        Column("description", words["summary"]),
        Column("quantity", words["quantity"], is_number=True),
        Column("unit", words["unit"]),
        Column("amount", words["amount"], is_number=True),
    )
    rows = tuple(_group(key, lines, statement, words, language) for key, lines in groups.items())
    return Table(columns, rows, totals(statement, words), words["no_lines"], words["summary"])


def _group(
    key: tuple[str, str, str, date | None],
    lines: Sequence[StatementLine],
    statement: Statement,
    words: dict[str, str],
    language: str,
) -> tuple[Cell, ...]:
    kind, title, unit, service = key
    notes = [words["summary_lines"].format(count=len(lines))] if len(lines) > 1 else []
    if service is not None:
        span = statement_text.days(service, lines[0].rated.service_end, language)
        notes.append(f"{words['service_period']}: {span}")
    amount = sum((line.rated.amount for line in lines), Money.zero(statement.currency))
    units = quantity(sum((line.rated.quantity for line in lines), Decimal(0))) if kind else ""
    lead = f"{words['correction']}." if kind == "correction" else ""
    return row(Cell(title, lead=lead, notes=tuple(notes)), units, unit, money(amount))


def _sections(
    statement: Statement, context: StatementContext, words: dict[str, str], language: str
) -> tuple[Section, ...]:
    sections = [*share_paper.sections(statement, language), _not_charged(statement, words, language)]
    if context.credit_notes:
        sections.append(_credit_notes(statement, context.credit_notes, words, language))
    if context.liability:
        columns = (Column("party", words["party"]), Column("share", words["share"], is_number=True))
        rows = tuple(row(name, Cell(statement_text.percent(part), part)) for name, part in context.liability)
        table = Table(columns, rows, name=words["liability"])
        sections.append(Section(words["liability"], (words["liability_note"],), table))
    sections.append(_payment(statement, context, words))
    return tuple(sections)


def _not_charged(statement: Statement, words: dict[str, str], language: str) -> Section:
    rows = [row(explain.reason(code, language), count(n)) for code, n in statement.not_charged.items()]
    if statement.quarantined_count:
        rows.append(row(words["quarantined"], count(statement.quarantined_count)))
    if not rows:
        return Section(words["not_charged"], (words["not_charged_none"],))
    columns = (Column("reason", words["reason"]), Column("count", words["count"], is_number=True))
    table = Table(columns, tuple(rows), name=words["not_charged"])
    return Section(words["not_charged"], (words["not_charged_note"],), table)


def _credit_notes(
    statement: Statement, notes: Sequence[CreditNote], words: dict[str, str], language: str
) -> Section:
    columns = (
        Column("number", words["number_of_note"]),
        Column("date", words["date"]),
        Column("reason", words["reason"]),
        Column("amount", words["amount_with_tax"], is_number=True),
    )
    rows = tuple(
        row(
            note.number, statement_text.local_day(note.issued_at, note.time_zone, language), note.reason,
            money(-note.total),
        )
        for note in notes
    )  # fmt: skip
    credited = sum((note.total for note in notes), Money.zero(statement.currency))
    after = Total("total", words["total_after_credit"], statement.total - credited)
    table = Table(columns, rows, (after,), name=words["credit_notes"])
    return Section(words["credit_notes"], (words["credit_notes_note"],), table)


def _payment(statement: Statement, context: StatementContext, words: dict[str, str]) -> Section:
    terms = words["payment_terms"].format(days=statement.payment_terms_days)
    paragraphs = [f"{terms} {words['payment_reference']}"]
    if context.open_amount is not None:
        told = [(words["open_amount"], context.open_amount)]
        if context.disputed:
            told += [
                (words["in_dispute"], context.disputed),
                (words["payable"], context.open_amount - context.disputed),
            ]
        paragraphs.append("; ".join(f"{label}: {amount} {amount.currency}" for label, amount in told))
    return Section(words["payment"], tuple(paragraphs), lines=statement.seller.bank_details)
