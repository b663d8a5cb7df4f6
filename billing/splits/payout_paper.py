"""The payout statement as a paper: page, PDF, CSV and workbook show the same."""

from __future__ import annotations

from billing.money import Money
from billing.splits.payout_record import GuaranteeLine, PayoutLine, PayoutStatement
from billing.splits.payout_text import words_of
from billing.statements import paper_print, statement_text
from billing.statements.paper import (
    Cell,
    Column,
    Fact,
    Paper,
    Section,
    Table,
    Total,
    day,
    last_day,
    money,
    quantity,
    row,
)
from billing.statements.paper_xlsx import to_xlsx


def payout_paper(statement: PayoutStatement, language: str = "en") -> Paper:
    """Raises `LanguageUnknown`."""
    words, period = words_of(language), statement.period
    facts = [
        Fact(
            words["period"], statement_text.days(period.starts_on, period.ends_on, language), period.time_zone
        )
    ]
    if statement.issued_at:
        issued_on = statement_text.local_day(statement.issued_at, period.time_zone, language)
        facts.insert(0, Fact(words["issued_on"], issued_on))
    sections = [_guarantees(statement, words, language)] if statement.guarantees else []
    if statement.payee.bank_details:
        sections.append(Section(words["pay_to"], lines=statement.payee.bank_details))
    return Paper(
        language=language,
        title=words["title"],
        number=statement.number,
        headline=Total("total", words["to_pay"], statement.to_pay),
        parties=((words["seller"], statement.seller), (words["payee"], statement.payee)),
        facts=(*facts, Fact(words["currency"], statement.currency)),
        table=_lines(statement, words, language),
        sections=tuple(sections),
        foot=(words["self_billed"],),
        draft_note=words["draft_note"],
        running=words["self_billed"],
    )


def totals(statement: PayoutStatement, words: dict[str, str]) -> tuple[Total, ...]:
    """Everything that leads from the opening balance to what is paid; zeros left out."""
    after = words["advance_outstanding"].format(amount=statement.advance_outstanding)
    owed = statement.closing - statement.pending
    parts = (
        Total("opening", words["opening"], statement.opening),
        Total("shares", words["shares"], statement.shares),
        Total("guarantee", words["guaranteed"], statement.guaranteed),
        Total("recouped", f"{words['recouped']} ({after})", statement.recouped),
        Total("paid", words["paid"], statement.paid),
        Total("pending", words["pending"], -statement.pending),
        Total("carried", words["carried"], Money(min(0, owed.amount_minor), statement.currency)),
    )
    to_pay = Total("total", f"{words['to_pay']} ({statement.currency})", statement.to_pay)
    return (*(part for part in parts if part.amount), to_pay)


def render_html(statement: PayoutStatement, language: str = "en") -> str:
    """The body as an HTML fragment, to stand in a page."""
    return paper_print.to_html(payout_paper(statement, language))


def render_pdf(statement: PayoutStatement, language: str = "en") -> bytes:
    return paper_print.paper_to_pdf(payout_paper(statement, language))


def render_csv(statement: PayoutStatement, language: str = "en") -> bytes:
    return paper_print.to_csv(payout_paper(statement, language))


def render_xlsx(statement: PayoutStatement, language: str = "en") -> bytes:
    return to_xlsx(payout_paper(statement, language), statement.issued_at)


def render_text(statement: PayoutStatement, language: str = "en") -> str:
    """For a terminal, 78 columns in English."""
    paper, words = payout_paper(statement, language), words_of(language)
    write = [f"{paper.title} {paper.number or words['draft']}"]
    write += [f"{role}: {party.name}" for role, party in paper.parties]
    write += [f"{words['period']}: {statement_text.period(statement.period, language)}", ""]
    for line in statement.lines:
        write += [_columns(line.title[language], line.amount), *_indented(_notes(line, words, language))]
        count = f"{statement_text.number(line.quantity)} ({line.unit[language]})"
        write.append(f"   {count}, {words['base']} {line.base}, {words['earned']} {line.earned}")
    for one in statement.guarantees:
        write += [_columns(words["guarantee"], one.top_up), f"   {_span(one, language)}"]
        write.append(f"   {words['promised']} {one.guaranteed}, {words['earned']} {one.earned}")
    write += ["", *(_columns(total.label, total.amount) for total in totals(statement, words)), ""]
    return "\n".join([*write, words["self_billed"]]) + "\n"


def _lines(statement: PayoutStatement, words: dict[str, str], language: str) -> Table:
    columns = (
        Column("description", words["description"]),
        Column("contract", words["contract"], is_printed=False),
        Column("split", words["split"], is_printed=False),
        Column("service_start", words["service_start"], is_printed=False),
        Column("service_last_day", words["service_last_day"], is_printed=False),
        Column("quantity", words["quantity"], is_number=True),
        Column("unit", words["unit"]),
        Column("base", words["base"], is_number=True),
        Column("earned", words["earned"], is_number=True),
        Column("reversed", words["reversed"], is_number=True, is_printed=False),
        Column("released_before", words["released_before"], is_number=True, is_printed=False),
        Column("waiting", words["waiting"], is_number=True, is_printed=False),
        Column("amount", words["amount"], is_number=True),
    )
    rows = tuple(
        row(
            Cell(line.title[language], notes=_notes(line, words, language)), line.contract_name, line.split,
            day(line.service_start), day(last_day(line.service_end)), quantity(line.quantity),
            line.unit[language], money(line.base), money(line.earned), money(line.reversed),
            money(line.released_before), money(line.waiting), money(line.amount),
        )
        for line in statement.lines
    )  # fmt: skip
    return Table(columns, rows, totals(statement, words), words["none"], words["title"])


def _notes(line: PayoutLine, words: dict[str, str], language: str) -> tuple[str, ...]:
    """Where it is from, and what lies between what was earned and what this statement adds."""
    between = ("reversed", "released_before", "waiting")
    told = (f"{words[name]} {getattr(line, name)}" for name in between if getattr(line, name))
    return (_span(line, language), *told)


def _span(line: PayoutLine | GuaranteeLine, language: str) -> str:
    days = (
        (line.service_start, line.service_end)
        if isinstance(line, PayoutLine)
        else (line.period_start, line.period_end)
    )
    return f"{line.contract_name}/{line.split}, {statement_text.days(*days, language)}"


def _guarantees(statement: PayoutStatement, words: dict[str, str], language: str) -> Section:
    columns = (
        Column("description", words["description"]),
        Column("guaranteed", words["promised"], is_number=True),
        Column("earned", words["earned"], is_number=True),
        Column("top_up", words["amount"], is_number=True),
    )
    rows = tuple(
        row(_span(one, language), money(one.guaranteed), money(one.earned), money(one.top_up))
        for one in statement.guarantees
    )
    return Section(words["guarantee"], table=Table(columns, rows, name=words["guarantee"]))


def _indented(lines: tuple[str, ...]) -> list[str]:
    return [f"   {line}" for line in lines]


def _columns(text: str, amount: Money) -> str:
    return f"{text:<62}{amount!s:>16}"
