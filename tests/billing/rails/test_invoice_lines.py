"""A payer sees a statement's lines at a rail, fewer where there are too many, and always the same sum."""

from __future__ import annotations

import random

from billing.contracts import store
from billing.money import Money
from billing.rails.invoice_lines import LINES_MAX, invoice_lines
from tests.billing.payment_seeds import TENANT, cny


def test_an_invoice_has_at_most_250_lines_and_the_same_sum(transact, owing) -> None:
    with transact() as conn:
        statement = store.get_statement(conn, TENANT, owing[0])
    chooser = random.Random(7)
    for count in (1, 249, 250, 400):
        line = statement.lines[0]
        lines = tuple(
            line.__class__(n + 1, line.rated.__class__(**{
                **vars(line.rated), "amount": Money(chooser.randint(-50, 500), "CNY"),
                "title": {"en": f"Product {n if count == 400 else n % 30}"},
            }), line.tax)
            for n in range(count)
        )  # fmt: skip
        many = statement.evolve(lines=lines)
        shown = invoice_lines(many, many.total)
        assert len(shown) <= LINES_MAX
        assert sum(int(one["amount_minor"]) for one in shown) == many.total.amount_minor
    part = invoice_lines(statement, cny(10000))
    assert sum(int(one["amount_minor"]) for one in part) == 10000
