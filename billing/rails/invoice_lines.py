"""The lines that a payer sees at a rail: titles and rounded amounts of a statement, nothing of its cases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from billing.money import Money
from billing.statements.statement_record import Statement
from billing.statements.statement_text import percent

LINES_MAX = 250
"""Stripe takes no more on an invoice. With more, the lines of a product become one; the statement has them all."""
DESCRIPTION_LENGTH_MAX = 200


def invoice_lines(statement: Statement, asked: Money) -> list[dict[str, str | int]]:
    """description and amount_minor of each line, with tax as lines of its own; they sum to `asked` exactly."""
    lines = [(_title(line.rated.title), line.rated.amount.amount_minor) for line in statement.lines]
    taxes = [(f"{tax.name} {percent(tax.rate)}", tax.tax.amount_minor) for tax in statement.taxes]
    settled = asked.amount_minor - statement.total.amount_minor
    rest = [("paid and credited before", settled)] if settled else []
    most = LINES_MAX - len(taxes) - len(rest)
    if len(lines) > most:
        lines = _by_title(lines, most)
    return [
        {"description": description, "amount_minor": amount}
        for description, amount in [*lines, *taxes, *rest]
        if amount
    ]


def _by_title(lines: list[tuple[str, int]], most: int) -> list[tuple[str, int]]:
    """One line for each title; what is still too many becomes one line."""
    sums: dict[str, int] = defaultdict(int)
    for title, amount in lines:
        sums[title] += amount
    shown = list(sums.items())
    if len(shown) <= most:
        return shown
    return [
        *shown[: most - 1],
        ("other items of the statement", sum(amount for _, amount in shown[most - 1 :])),
    ]


def _title(title: Mapping[str, str]) -> str:
    return (title.get("en") or next(iter(title.values())))[:DESCRIPTION_LENGTH_MAX]
