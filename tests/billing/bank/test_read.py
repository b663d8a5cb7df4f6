"""Bank files in three formats are read exactly, or refused whole with what is wrong."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import date

import pytest

from billing.bank.line import digests
from billing.bank.read_camt import read_camt
from billing.bank.read_csv import CsvForm, read_csv
from billing.bank.read_mt940 import read_mt940
from billing.cash.payment_errors import BankFileRefused
from billing.money import Money
from tests.billing.bank.bank_files import OURS, THEIRS, Booking, camt, mt940

NUMBER = "RM-HOSPITAL-A-000001"
FORM = CsvForm(OURS, "CNY")


def test_a_camt_line_is_what_the_account_moved_not_what_was_instructed() -> None:
    booking = Booking("212.00", f"Statement {NUMBER}", e2e="E2E-7", reference="REF-1", charges="1.50")
    [line] = read_camt(camt([booking]))
    assert line.amount == Money(21200, "CNY")
    assert line.charges == Money(150, "CNY")
    assert (line.account, line.counterparty_account) == (OURS, THEIRS)
    assert (line.counterparty_name, line.end_to_end_id, line.bank_reference) == (
        "Demo Hospital",
        "E2E-7",
        "REF-1",
    )
    assert (line.booked_on, line.remittance) == (date(2026, 12, 10), f"Statement {NUMBER}")
    assert not line.is_return


def test_a_camt_line_that_left_is_negative_and_a_return_says_so() -> None:
    [out, back] = read_camt(camt([Booking("-8.00"), Booking("-212.00", is_return=True)]))
    assert (out.amount.amount_minor, out.is_return) == (-800, False)
    assert (back.amount.amount_minor, back.is_return) == (-21200, True)


def test_several_transactions_of_one_camt_entry_are_several_lines_where_they_sum_to_it() -> None:
    whole = camt([Booking("30.00")]).decode()
    detail = whole[whole.index("<TxDtls>") : whole.index("</NtryDtls>")]
    parts = "".join(
        detail.replace(
            "<RltdPties>", f"<AmtDtls><TxAmt><Amt Ccy='CNY'>{amount}</Amt></TxAmt></AmtDtls><RltdPties>"
        )
        .replace('<AmtDtls><InstdAmt><Amt Ccy="USD">1.00</Amt></InstdAmt></AmtDtls>', "")
        .replace("<Ustrd></Ustrd>", f"<Ustrd>part {amount}</Ustrd>")
        for amount in ("10.00", "20.00")
    )
    lines = read_camt(whole.replace(detail, parts).encode())
    assert [(str(line.amount), line.remittance) for line in lines] == [
        ("10.00", "part 10.00"),
        ("20.00", "part 20.00"),
    ]
    one = read_camt(whole.replace(detail, parts.replace(">20.00<", ">21.00<")).encode())
    assert [str(line.amount) for line in one] == ["30.00"]


def test_pending_entries_are_left_for_the_day_they_are_booked() -> None:
    pending = (
        camt([], closing="1000.00")
        .decode()
        .replace(
            "</Stmt>", camt([Booking("5.00")]).decode().split("</Bal>")[2].split("</Stmt>")[0] + "</Stmt>"
        )
    )
    assert read_camt(pending.replace("<Cd>BOOK</Cd>", "<Cd>PDNG</Cd>").encode()) == []


ENTITY = b"""<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><d>&b;</d>"""
EXTERNAL = b"""<?xml version="1.0"?><!DOCTYPE d SYSTEM "file:///etc/passwd"><d/>"""


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (ENTITY, "DOCTYPE"),
        (EXTERNAL, "DOCTYPE"),
        (ENTITY.decode().replace('version="1.0"', 'version="1.0" encoding="UTF-16"').encode("utf-16"), "DOCTYPE"),
        (b"", "not XML"),
        (b"\x00\xff", "not XML"),
        (b"<Document/>", "camt.053"),
        (b"<a>" * 200 + b"</a>" * 200, "deeply"),
        (b" " * (20 * 1024 * 1024 + 1), "larger"),
        (camt([Booking("1.00")], closing="1002.00"), "cut or was changed"),
        (camt([Booking("1.005")]), "not an amount of CNY"),
        (camt([Booking("1.00")]).replace(b"CRDT</CdtDbtInd>\n<Sts>", b"</CdtDbtInd>\n<Sts>"), "came or went"),
        (camt([Booking("1.00", day="yesterday")]), "not a date"),
        (camt([Booking("1.00")], currency="ZZZ", closing="1001.00"), "ZZZ"),
    ],
)  # fmt: skip
def test_a_hostile_or_broken_camt_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_camt(data)


def test_an_mt940_line_has_its_text_whole_and_its_payer() -> None:
    text = f"Statement {NUMBER} of November, thank you"
    [line, back] = read_mt940(
        mt940([Booking("212.00", text, e2e="E2E-7", reference="B1"), Booking("-5.00", is_return=True)])
    )
    assert (line.amount, line.counterparty_account) == (Money(21200, "EUR"), THEIRS)
    assert NUMBER in line.remittance.replace(" ", "") or NUMBER in line.remittance
    assert (line.end_to_end_id, line.bank_reference, line.counterparty_name) == (
        "E2E-7",
        "B1",
        "Demo Hospital",
    )
    # A reversal of a credit (RC) is money that leaves.
    assert (back.amount, back.is_return) == (Money(-500, "EUR"), True)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no statement"),
        (b"/etc/passwd", "no statement"),
        (b":20:X\n:61:nonsense\n", "not MT940"),
        (b":20:X\n" + b"a" * 3000, "more than 2000"),
        (b":20:X\n" * 5001, "more than 5000 statements"),
        (mt940([Booking("1.00")]).replace(b":60F:C261130EUR1000,00\r\n", b""), "not an ISO 4217 currency"),
        (mt940([Booking("1.00")]).replace(b"1001,00", b"1002,00"), "cut or was changed"),
    ],
)  # fmt: skip
def test_a_hostile_or_broken_mt940_is_refused_and_not_logged(
    data: bytes, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(BankFileRefused, match=says):
        read_mt940(data)
    assert "nonsense" not in caplog.text


GERMAN = "Buchungstag;Valuta;Betrag;Währung;Name;IBAN;Verwendungszweck\n10.12.2026;11.12.2026;1.212,00;EUR;H;DE1;R 1\n"
CHINESE = (
    "账号:,6222\n户名:,医院\n交易日期,借方发生额,贷方发生额,对方户名,对方账号,摘要,附言,交易流水号\n"
    '20261210,,"1,212.00",某医院,6217,转账,RM-1,A1\n20261211,8.00,,银行,,手续费,,A2\n合计,,,,,,,\n'
)


def test_a_csv_is_read_by_its_headings_whatever_stands_above_them() -> None:
    german = read_csv(
        GERMAN.encode(),
        CsvForm(OURS, decimal_mark=","),
    )
    assert [(str(line.amount), line.amount.currency, line.value_on.day) for line in german] == [
        ("1,212.00", "EUR", 11)
    ]
    with pytest.raises(BankFileRefused, match="row 6"):
        read_csv(CHINESE.encode("gb18030"), CsvForm(OURS, "CNY", encoding="gb18030"))
    lines = read_csv(
        CHINESE.replace("合计,", ",").encode("gb18030"), CsvForm(OURS, "CNY", encoding="gb18030")
    )
    assert [line.amount.amount_minor for line in lines] == [121200, -800]
    assert (lines[0].remittance, lines[0].bank_reference, lines[0].counterparty_account) == (
        "转账 RM-1",
        "A1",
        "6217",
    )


def test_columns_that_no_bank_heads_so_are_named_by_hand() -> None:
    form = CsvForm(OURS, "CNY", columns={"booked_on": "When", "amount": "How much", "remittance": "What for"})
    [line] = read_csv(b"When,How much,What for\n2026-12-10,5.00,RM-1\n", form)
    assert (str(line.amount), line.remittance) == ("5.00", "RM-1")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n1,2\n", "--column"),
        ("date,amount\n2026-12-10,1.005\n", "row 2.*not an amount of CNY"),
        ('date,amount\n2026-12-10,"197,00"\n', "row 2.*decimal mark"),
        ("date,amount\n2026-12-10,１２\n", "row 2.*not an amount"),
        ("date,amount\n2026-12-10,1_0\n", "row 2.*not an amount"),
        ("date,amount\n2026-12-10,1e9999\n", "row 2.*not an amount"),
        ("date,amount\n2026-12-10,NaN\n", "row 2.*not an amount"),
        ("date,amount\n2026-12-10,0\n", "row 2"),
        ("date,amount\n31.31.2026,1\n", "row 2.*not a date"),
        ("date,credit,debit\n2026-12-10,1,1\n", "both"),
        ("date,amount,currency\n2026-12-10,1,ZZZ\n", "row 2.*ZZZ"),
        ("date,amount\n2026-12-10,1.234,56\n2026-12-10,\"1\n", "CSV"),
        ("date,amount\n" + "\n" * 100_040, "more than 100000 lines"),
        ("date,amount\n2026-12-10," + "1" * 200_000, "CSV: field larger"),
    ],
)  # fmt: skip
def test_a_hostile_or_broken_csv_is_refused_with_its_rows(text: str, says: str) -> None:
    with pytest.raises(BankFileRefused, match=says):
        read_csv(text.encode(), FORM)


@pytest.mark.parametrize("encoding", ["ascii", "hex", "rot13", "idna", "undefined", "no such", "a\0b", ""])
def test_an_encoding_that_a_file_does_not_have_is_refused(encoding: str) -> None:
    with pytest.raises(BankFileRefused, match="try another --encoding"):
        read_csv("日期,金额\n".encode(), replace(FORM, encoding=encoding))


def test_two_lines_that_say_the_same_are_two_and_stay_the_same_two_in_any_file() -> None:
    twice = Booking("5.00", "the same")
    both = [digest for digest, _ in digests(read_camt(camt([twice, twice])))]
    longer = [digest for digest, _ in digests(read_camt(camt([Booking("1.00"), twice, twice])))]
    assert len(set(both)) == 2
    assert longer[1:] == both
