"""Payout statement for a terminal, in English or Chinese."""

from __future__ import annotations

from billing import statement_text
from billing.money import Money
from billing.splits.payout_record import PayoutStatement
from billing.splits.payout_text import words_of


def totals(statement: PayoutStatement, words: dict[str, str]) -> list[tuple[str, str, Money]]:
    """(kind, words, amount) of everything that leads from the opening balance to what is paid; zeros left out."""
    after = words["advance_outstanding"].format(amount=statement.advance_outstanding)
    rows = [
        ("opening", words["opening"], statement.opening),
        ("shares", words["shares"], statement.shares),
        ("guarantee", words["guaranteed"], statement.guaranteed),
        ("recouped", f"{words['recouped']} ({after})", statement.recouped),
        ("paid", words["paid"], statement.paid),
        ("pending", words["pending"], -statement.pending),
    ]
    rows = [row for row in rows if row[2]]
    owed = statement.closing - statement.pending
    if owed.amount_minor < 0:
        rows.append(("carried", words["carried"], owed))
    return [*rows, ("to_pay", f"{words['to_pay']} ({statement.currency})", statement.to_pay)]


def render_text(statement: PayoutStatement, language: str = "en") -> str:
    """For a terminal, 78 columns in English."""
    words = words_of(language)
    write = [
        f"{words['title']} {statement.number or words['draft']}",
        f"{words['seller']}: {statement.seller.name}",
        f"{words['payee']}: {statement.payee.name}",
        f"{words['period']}: {statement_text.period(statement.period, language)}",
        "",
    ]
    for line in statement.lines:
        span = statement_text.days(line.service_start, line.service_end, language)
        write.append(_columns(f"{line.title[language]}, {line.contract_name}/{line.split}", line.amount))
        count = f"{statement_text.number(line.quantity)} ({line.unit[language]})"
        write.append(f"   {span}: {count}, {words['base']} {line.base}, {words['earned']} {line.earned}")
        for name in ("reversed", "released_before", "waiting"):
            if getattr(line, name):
                write.append(f"   {words[name]} {getattr(line, name)}")
    for one in statement.guarantees:
        write.append(_columns(f"{words['guarantee']}, {one.contract_name}/{one.split}", one.top_up))
        span = statement_text.days(one.period_start, one.period_end, language)
        write.append(f"   {span}: {words['promised']} {one.guaranteed}, {words['earned']} {one.earned}")
    write += ["", *(_columns(text, amount) for _, text, amount in totals(statement, words)), ""]
    write.append(words["self_billed"])
    return "\n".join(write) + "\n"


def _columns(text: str, amount: Money) -> str:
    return f"{text:<62}{amount!s:>16}"
