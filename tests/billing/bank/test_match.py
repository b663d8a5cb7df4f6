"""A bank line is applied without a person only where it can mean one thing; else the reason is told."""

from __future__ import annotations

from datetime import date

import pytest

from billing.bank.line import BankLine
from billing.bank.match import Proposal, find_named, propose
from billing.cash.payment_record import OpenStatement
from billing.money import Money

ACCOUNT = "DE89370400440532013000"


def line(
    amount: int, text: str = "", account: str = ACCOUNT, charges: int = 0, currency: str = "CNY"
) -> BankLine:
    day = date(2026, 12, 10)
    return BankLine(
        "ours",
        day,
        day,
        Money(amount, currency),
        Money(charges, currency),
        counterparty_account=account,
        remittance=text,
    )


def asks(number: int, amount: int, payer: str = "demo") -> OpenStatement:
    return OpenStatement(number, f"RM-HOSPITAL-A-{number:06d}", payer, Money(amount, "CNY"))


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("RM-HOSPITAL-A-000001", [1]),
        ("inv rm hospital a 000001, thanks", [1]),
        ("SVWZ+RM-HOSPITAL-\nA-0000 01 2026", [1]),
        ("RM-HOSPITAL-A-000001 and RM-HOSPITAL-A-000002", [1, 2]),
        ("RM-HOSPITAL-A-0000012", []),
        ("XRM-HOSPITAL-A-000001", []),
        ("RM-HOSPITAL-B-000001", []),
        ("", []),
    ],
)
def test_a_number_is_found_however_the_bank_broke_it(text: str, numbers: list[int]) -> None:
    statements = [asks(1, 100), asks(2, 100), asks(12, 100)]
    assert [one.statement_id for one in find_named(text, statements)] == numbers


def about(what: BankLine, *statements: OpenStatement, known: str | None = None) -> Proposal:
    return propose(what, statements, {ACCOUNT: known} if known else {})


def number(*numbers: int) -> str:
    return " ".join(f"RM-HOSPITAL-A-{one:06d}" for one in numbers)


def test_a_named_statement_is_paid_exactly_in_part_or_over() -> None:
    for amount, pays, words in ((100, 100, "exactly"), (60, 60, "0.60 of 1.00"), (130, 100, "0.30 more")):
        found = about(line(amount, number(1)), asks(1, 100))
        assert (found.is_certain, found.payer_id, found.pays) == (True, "demo", ((1, pays),))
        assert words in found.sentence


def test_what_the_bank_kept_counts_as_paid() -> None:
    found = about(line(85, number(1), charges=15), asks(1, 100))
    assert found.is_certain
    assert found.pays == ((1, 100),)
    assert "kept 0.15" in found.sentence


def test_several_named_statements_are_paid_together_or_a_person_says_which() -> None:
    both = (asks(1, 100), asks(2, 50))
    assert about(line(150, number(1, 2)), *both).pays == ((1, 100), (2, 50))
    assert about(line(170, number(1, 2)), *both).pays == ((1, 100), (2, 50))
    short = about(line(149, number(1, 2)), *both)
    assert (short.is_certain, short.pays) == (False, ())
    assert "which is paid?" in short.sentence
    # One of the two is paid already: the other is meant.
    assert about(line(50, number(1, 2)), asks(1, 0), asks(2, 50)).pays == ((2, 50),)


@pytest.mark.parametrize(
    ("what", "statements", "known", "says"),
    [
        (line(100, number(1)), (asks(1, 0),), None, "paid twice?"),
        (line(100, number(1)), (asks(1, 100),), "other", "account of other"),
        (line(100, number(1, 2)), (asks(1, 50), asks(2, 50, "other")), None, "different payers"),
        (line(100, number(1), currency="EUR"), (asks(1, 100),), None, "not in EUR"),
        (line(100), (asks(1, 100),), None, "account DE89370400440532013000 is not known"),
        (line(100, account=""), (asks(1, 100),), None, "no account is not known"),
        (line(99), (asks(1, 100),), None, "not known as a payer's"),
        (line(99), (asks(1, 100),), "demo", "ask exactly 0.99"),
        (line(100), (asks(1, 100), asks(2, 100)), "demo", "or"),
        (line(100), (asks(1, 100), asks(2, 60), asks(3, 40)), "demo", "RM-HOSPITAL-A-000002 + RM-HOSPITAL-A-000003"),
        (line(100), (asks(1, 100, "other"),), "demo", "no open statements of demo"),
    ],
)  # fmt: skip
def test_what_may_mean_two_things_is_work_with_its_reason(what, statements, known, says: str) -> None:
    found = about(what, *statements, known=known)
    assert not found.is_certain
    assert says in found.sentence


def test_the_known_account_of_a_payer_pays_what_asks_exactly_that() -> None:
    statements = (asks(1, 100), asks(2, 60), asks(3, 45), asks(4, 145, "other"))
    assert about(line(60), *statements, known="demo").pays == ((2, 60),)
    assert about(line(145), *statements, known="demo").pays == ((1, 100), (3, 45))
    many = [asks(n, 2**n) for n in range(1, 31)]
    assert about(line(2**30), *many, known="demo").pays == ((30, 2**30),)
    assert about(line(2**31 - 2), *many, known="demo").is_certain
    assert not about(line(2**30 + 2), *many, known="demo").is_certain
