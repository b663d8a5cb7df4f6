"""The credit note and the reminder as papers."""

from __future__ import annotations

from billing.claims.credit_note_record import CreditNote, CreditNoteLine
from billing.claims.reminder_record import Reminder
from billing.money import Money, round_half_away_from_zero
from billing.statements import statement_text
from billing.statements.paper import (
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
    row,
)
from billing.statements.statement_text import labels


def credit_note_paper(note: CreditNote, language: str) -> Paper:
    words = labels(language)
    issued_on = statement_text.local_day(note.issued_at, note.time_zone, language)
    return Paper(
        language=language,
        title=words["credit_note"],
        number=note.number,
        headline=Total("total", words["total_credited"], note.total),
        parties=((words["seller"], note.seller), (words["buyer"], note.buyer)),
        facts=(
            Fact(words["issued_on"], issued_on),
            Fact(words["of_statement"], note.statement_number),
            Fact(words["contract"], note.contract_name),
            Fact(words["currency"], note.currency),
        ),
        table=_credited(note, words, language),
        sections=(Section(words["reason"], (note.reason,)),),
        foot=(words["not_a_red_invoice"], words["credit_note_note"]),
        running=words["not_a_red_invoice"],
    )


def reminder_paper(reminder: Reminder, language: str) -> Paper:
    words = labels(language)
    settled = reminder.total - reminder.still_open
    columns = (Column("description", words["description"]), Column("amount", words["amount"], is_number=True))
    rows = [row(words["statement_total"], money(reminder.total))]
    if settled:
        rows.append(row(words["settled"], money(-settled)))
    if reminder.disputed:
        rows.append(row(words["in_dispute"], money(-reminder.disputed)))
    payable = Total("total", f"{words['payable']} ({reminder.currency})", reminder.payable)
    return Paper(
        language=language,
        title=words["reminder"],
        number=reminder.number,
        headline=Total("total", words["payable"], reminder.payable),
        parties=((words["seller"], reminder.seller), (words["buyer"], reminder.payer)),
        facts=(
            Fact(words["as_of"], statement_text.day(reminder.as_of, language)),
            Fact(words["of_statement"], reminder.statement_number),
            Fact(words["due_on"], statement_text.day(reminder.due_on, language)),
            Fact(words["days_overdue"], str(reminder.days_overdue)),
            Fact(words["reminder_level"], str(reminder.level)),
        ),
        table=Table(columns, tuple(rows), (payable,), name=words["reminder"]),
        sections=(
            Section(words["payment"], (words["payment_reference"],), lines=reminder.seller.bank_details),
        ),
        foot=(words["not_a_tax_invoice"],),
        running=words["not_a_tax_invoice"],
        notices=(reminder.text[language],),
    )


def _credited(note: CreditNote, words: dict[str, str], language: str) -> Table:
    columns = (
        Column("line", words["line"], is_number=True),
        Column("product", words["product"], is_printed=False),
        Column("description", words["description"]),
        Column("service_start", words["service_start"], is_printed=False),
        Column("service_last_day", words["service_last_day"], is_printed=False),
        Column("line_amount", words["line_amount"], is_number=True),
        Column("credited_so_far", words["credited_so_far"], is_number=True),
        Column("amount", words["credited"], is_number=True),
    )
    totals = [Total("subtotal", words["subtotal"], note.subtotal)]
    for tax in note.taxes:
        label = f"{tax.name} {statement_text.percent(tax.rate)} {words['tax_on']} {tax.base}"
        totals.append(Total("tax", label, tax.tax))
    totals.append(Total("total", f"{words['total_credited']} ({note.currency})", note.total))
    rows = tuple(_line(line, words, language) for line in note.lines)
    return Table(columns, rows, tuple(totals), name=words["credit_note"])


def _line(line: CreditNoteLine, words: dict[str, str], language: str) -> tuple[Cell, ...]:
    span = statement_text.days(line.service_start, line.service_end, language)
    so_far = round_half_away_from_zero(line.line_amount.amount_minor * line.fraction)
    description = Cell(line.title[language], notes=(f"{words['service_period']}: {span}",))
    return row(
        count(line.number), line.product, description, day(line.service_start), day(last_day(line.service_end)),
        money(line.line_amount), money(Money(so_far, line.amount.currency)), money(line.amount),
    )  # fmt: skip
