"""Reports are sums over postings: they agree with a plain Python sum of the same journal, in every currency."""

from __future__ import annotations

import csv
import io
import random
import re
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from billing.books import ledger, ledger_export, reports
from billing.books.ledger import Posting
from billing.money import Money

TENANT = "hospital-a"
START = datetime(2026, 1, 1, tzinfo=UTC)
FAR = datetime(2030, 1, 1, tzinfo=UTC)
Booked = list[tuple[datetime, str, tuple[Posting, ...]]]
SHAPES = (
    ("statement_issued", ("receivable:{payer}", "deferred_revenue:{payer}")),
    ("revenue_recognised", ("deferred_revenue:{payer}", "revenue")),
    ("statement_issued", ("receivable:{payer}", "prepaid:{payer}")),
    ("prepaid_used", ("prepaid:{payer}", "revenue")),
    ("prepaid_expired", ("prepaid:{payer}", "breakage")),
    ("payment_received", ("cash", "receivable:{payer}")),
)


@pytest.fixture
def booked(transact) -> Booked:
    """Sixty entries of six shapes over two years, two payers and currencies with 0, 2 and 3 decimals."""
    rng = random.Random(6)
    made: Booked = []
    with transact() as conn:
        for number in range(60):
            template, accounts = rng.choice(SHAPES)
            payer, currency = rng.choice(["north", "south"]), rng.choice(["CNY", "JPY", "BHD"])
            amount = Money(rng.randrange(1, 10**9), currency)
            debit, credit = (account.format(payer=payer) for account in accounts)
            postings = (Posting(debit, amount), Posting(credit, -amount))
            at = START + timedelta(days=rng.randrange(700), hours=rng.randrange(24))
            ledger.post(
                conn, TENANT, template=template, idempotency_key=f"k{number}", reference=f"R-{number}",
                postings=postings, effective_at=at, booked_at=at,
            )  # fmt: skip
            made.append((at, template, postings))
    return made


def naive_balances(booked: Booked, until: datetime) -> dict[tuple[str, str], int]:
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for at, _, postings in booked:
        for posting in postings if at < until else ():
            sums[posting.account, posting.amount.currency] += posting.amount.amount_minor
    return dict(sums)


@pytest.mark.parametrize("days", [0, 200, 800])
def test_the_trial_balance_at_a_date_is_the_sum_of_what_was_booked_before_it(
    transact, booked, days: int
) -> None:
    until = START + timedelta(days=days)
    with transact() as conn:
        totals = reports.trial_balance(conn, TENANT, until)
    balances = {(one.account, one.debit.currency): one.balance.amount_minor for one in totals}
    assert balances == naive_balances(booked, until)
    for currency in ("CNY", "JPY", "BHD"):
        assert sum(one.balance.amount_minor for one in totals if one.debit.currency == currency) == 0


def test_an_account_statement_runs_from_its_opening_to_its_closing_balance(transact, booked) -> None:
    since, until = START + timedelta(days=200), START + timedelta(days=500)
    with transact() as conn:
        one = reports.account_statement(conn, TENANT, "receivable:north", since, until)
        everyone = reports.account_statement(conn, TENANT, "receivable", since, until)
        nothing = reports.account_statement(conn, TENANT, "receiv_ble", since, until)
    assert nothing.movements == ()
    before, after = naive_balances(booked, since), naive_balances(booked, until)
    for currency in ("CNY", "JPY", "BHD"):
        moved = [movement for movement in one.movements if movement.amount.currency == currency]
        opening = one.opening.get(currency, Money.zero(currency))
        assert opening.amount_minor == before.get(("receivable:north", currency), 0)
        closing = one.closing.get(currency, Money.zero(currency))
        assert closing.amount_minor == after.get(("receivable:north", currency), 0)
        assert sum((movement.amount for movement in moved), opening) == closing
        assert not moved or moved[-1].balance == closing
    assert {movement.account for movement in everyone.movements} == {"receivable:north", "receivable:south"}


@pytest.mark.parametrize("account", ["deferred_revenue", "prepaid"])
def test_a_roll_forward_goes_from_opening_to_closing_by_what_moved_it(transact, booked, account: str) -> None:
    since, until = START + timedelta(days=200), START + timedelta(days=500)
    with transact() as conn:
        rolled = reports.roll_forward(conn, TENANT, account, since, until)
    before, after = naive_balances(booked, since), naive_balances(booked, until)
    assert rolled
    for one in rolled:
        key = (one.account, one.opening.currency)
        assert one.opening.amount_minor == before.get(key, 0)
        assert one.closing.amount_minor == after[key]
        for template, amount in one.by_template.items():
            expected = sum(
                posting.amount.amount_minor
                for at, name, postings in booked
                for posting in postings
                if name == template
                and since <= at < until
                and (posting.account, posting.amount.currency) == key
            )
            assert amount.amount_minor == expected


def parse_beancount(text: str) -> tuple[set[str], list[tuple[date, dict[str, Decimal]]]]:
    """An independent reader of the part of beancount that we write: accounts opened; day and sums by currency."""
    opened: set[str] = set()
    transactions: list[tuple[date, dict[str, Decimal]]] = []
    for line in text.splitlines():
        if match := re.fullmatch(r"(\d{4}-\d\d-\d\d) open (\S+)", line):
            opened.add(match[2])
        elif match := re.fullmatch(r'(\d{4}-\d\d-\d\d) \* "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"', line):
            transactions.append((date.fromisoformat(match[1]), defaultdict(Decimal)))
        elif match := re.fullmatch(
            r"  ([A-Z][A-Za-z]*(?::[A-Z0-9][A-Za-z0-9-]*)+)  (-?[0-9.]+) ([A-Z]{3})", line
        ):
            assert match[1] in opened, line
            assert match[1].split(":")[0] in {"Assets", "Liabilities", "Income", "Expenses", "Equity"}
            transactions[-1][1][match[3]] += Decimal(match[2])
        else:
            assert re.fullmatch(r'|option "title" "radmeter"|  entry: \d+', line), line
    return opened, transactions


def test_beancount_text_balances_in_every_transaction_and_keeps_every_amount(transact, booked) -> None:
    with transact() as conn:
        text = "".join(ledger_export.beancount(reports.journal(conn, TENANT, FAR), "Asia/Shanghai"))
    opened, transactions = parse_beancount(text)
    assert len(transactions) == len(booked)
    assert all(set(sums.values()) == {Decimal(0)} for _, sums in transactions)
    local_days = [(at + timedelta(hours=8)).date() for at, _, _ in booked]
    assert [day for day, _ in transactions] == local_days
    assert "Assets:Receivable:North" in opened


def test_the_csv_of_the_journal_holds_every_posting_in_major_units(transact, booked) -> None:
    with transact() as conn:
        text = "".join(ledger_export.journal_csv(reports.journal(conn, TENANT, FAR)))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 2 * len(booked)
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in rows:
        sums[row["account"], row["currency"]] += Decimal(row["debit"] or "0") - Decimal(row["credit"] or "0")
    expected = {key: Money(minor, key[1]).amount for key, minor in naive_balances(booked, FAR).items()}
    assert dict(sums) == expected


def test_the_journal_is_read_in_pages(transact, booked, monkeypatch) -> None:
    with transact() as conn:
        whole = list(reports.journal(conn, TENANT, FAR))
        monkeypatch.setattr(reports, "_BATCH", 7)
        assert list(reports.journal(conn, TENANT, FAR)) == whole


def test_every_account_has_a_place_in_beancount_and_none_share_one() -> None:
    accounts = {account for shape in ledger.TEMPLATES.values() for account in shape}
    assert all(ledger_export.beancount_account(account).count(":") == 1 for account in accounts)
    details = ["a b", "a-b", "a_b", "ab", "Ab", "a.b", "a-x20b", "0-Ab", "VAT 6 %", "-a", "aB"]
    assert len({ledger_export.beancount_account(f"receivable:{detail}") for detail in details}) == len(
        details
    )
