"""The journal and its reports as CSV for a spreadsheet, and as beancount text for accounting programs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from zoneinfo import ZoneInfo

from billing.books.reports import AccountTotal, JournalLine
from billing.statements.statement_text import safe_cell

_ROOTS = {
    # account → its place in beancount's five kinds
    "receivable": "Assets:Receivable",
    "cash": "Assets:Cash",
    "advance": "Assets:Advance",
    "tax_payable": "Liabilities:TaxPayable",
    "deferred_revenue": "Liabilities:DeferredRevenue",
    "prepaid": "Liabilities:Prepaid",
    "unapplied_cash": "Liabilities:UnappliedCash",
    "split_accrued": "Liabilities:SplitAccrued",
    "split_payable": "Liabilities:SplitPayable",
    "reserve": "Liabilities:Reserve",
    "revenue": "Income:Revenue",
    "breakage": "Income:Breakage",
    "rail_fee": "Expenses:RailFee",
    "bad_debt": "Expenses:BadDebt",
    "split_cost": "Expenses:SplitCost",
    "reserve_cost": "Expenses:ReserveCost",
}
_JOURNAL_COLUMNS = (
    "entry", "effective_at", "booked_at", "template", "reference", "position", "account", "currency", "debit", "credit",
)  # fmt: skip


def journal_csv(lines: Iterable[JournalLine]) -> Iterator[str]:
    """One row for each posting, debit and credit in columns of their own, in major units."""
    yield _csv_row(_JOURNAL_COLUMNS)
    for line in lines:
        what = [line.template, line.reference, str(line.position), line.account, line.amount.currency]
        times = [line.effective_at.isoformat(), line.booked_at.isoformat()]
        amount = f"{abs(line.amount.amount):f}"
        sides = (amount, "") if line.amount.amount_minor > 0 else ("", amount)
        yield _csv_row([str(line.sequence), *times, *what], sides)


def trial_balance_csv(totals: Iterable[AccountTotal]) -> Iterator[str]:
    """One row for each account and currency, in major units; a credit balance is negative."""
    yield _csv_row(("account", "currency", "debit", "credit", "balance"))
    for total in totals:
        amounts = (total.debit, total.credit, total.balance)
        yield _csv_row([total.account, total.debit.currency], [f"{amount.amount:f}" for amount in amounts])


def beancount(lines: Iterable[JournalLine], time_zone: str) -> Iterator[str]:
    """The journal in beancount's plain text: each entry on its local day, each account opened before its first use.

    Beancount sorts by date, so `open` directives stand on the first day of the journal whatever its order.
    """
    zone = ZoneInfo(time_zone)
    known: set[str] = set()
    yield 'option "title" "radmeter"\n'
    for _, group in groupby(lines, key=lambda line: line.sequence):
        entry = list(group)
        day = entry[0].effective_at.astimezone(zone).date()
        for line in entry:
            account = beancount_account(line.account)
            if account not in known:
                known.add(account)
                yield f"1970-01-01 open {account}\n"
        head = entry[0]
        yield f'\n{day} * "{head.template}" "{_quoted(head.reference)}"\n  entry: {head.sequence}\n'
        for line in entry:
            yield f"  {beancount_account(line.account)}  {line.amount.amount:f} {line.amount.currency}\n"


def beancount_account(account: str) -> str:
    """`receivable:city-hospital` → `Assets:Receivable:City-hospital`; different accounts stay different.

    A part begins with a capital letter or a digit and holds letters, digits and hyphens; other characters are
    written as `-x` and their code.
    """
    name, _, detail = account.partition(":")
    if not detail:
        return _ROOTS[name]
    safe = re.sub(r"[^A-Za-z0-9-]|-(?=x)", lambda match: f"-x{ord(match[0]):02X}", detail)
    part = safe[0].upper() + safe[1:] if safe[0].islower() else f"0-{safe}"
    return f"{_ROOTS[name]}:{part}"


def _quoted(text: str) -> str:
    """Text inside beancount's quotation marks, on one line."""
    return re.sub(r"[\r\n]", " ", text).replace("\\", "\\\\").replace('"', '\\"')


def _csv_row(texts: Sequence[str], amounts: Sequence[str] = ()) -> str:
    """Texts are made safe for spreadsheets; amounts are ours, and a minus sign is theirs to keep."""
    out = io.StringIO()
    csv.writer(out).writerow([*(safe_cell(text) for text in texts), *amounts])
    return out.getvalue()
