"""The register of tax documents: nothing is documented twice, numbers come in whole files or not at all."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from fractions import Fraction

import psycopg
import pytest

from billing.claims import credit_notes, fiscal, fiscal_csv
from billing.claims.fiscal import FiscalDocument
from billing.errors import StatementNotFound
from billing.money import Money
from billing.statements.document_errors import FiscalFileRefused, FiscalNotFound, FiscalNotPossible
from tests.billing.document_builders import CREDIT, NEW_YEAR, TENANT, issue_statement

ASKED = {"by": "finance", "now": NEW_YEAR}
HEADING = "request,action,number,issued_on,failure\n"


@pytest.fixture
def statement_id(transact, per_case: str, make_event) -> int:
    """318.00 with tax."""
    return issue_statement(transact, per_case, make_event)


def request(transact, *statement_ids: int, total: int | None = None) -> FiscalDocument:
    with transact() as conn:
        money = None if total is None else Money(total, "CNY")
        return fiscal.request(conn, TENANT, statement_ids, total=money, **ASKED)


def export(transact) -> list[dict[str, str]]:
    with transact() as conn:
        return list(csv.DictReader(io.StringIO(fiscal_csv.export(conn, TENANT).decode("utf-8-sig"))))


def take_in(transact, text: str) -> int:
    with transact() as conn:
        return fiscal_csv.take_in(conn, TENANT, (HEADING + text).encode(), **ASKED)


def state(transact, fiscal_id: int = 1) -> str:
    with transact() as conn:
        return fiscal.get_fiscal(conn, TENANT, fiscal_id).state


def test_a_document_goes_out_and_its_number_comes_in_and_a_red_one_cancels_it(
    transact, statement_id: int
) -> None:
    request(transact, statement_id)
    [row] = export(transact)
    assert (row["request"], row["action"], row["documents"]) == ("1", "issue", "RM-HOSPITAL-A-000001")
    assert (row["amount"], row["tax_amount"], row["total"], row["tax"]) == (
        "300.00",
        "18.00",
        "318.00",
        "VAT 6%",
    )
    assert take_in(transact, "1,issue,25312000000012345678,2027-01-03,\n") == 1
    assert export(transact) == []
    assert take_in(transact, "1,issue,25312000000012345678,2027-01-03,\n") == 0
    with transact() as conn:
        fiscal.request_red(conn, TENANT, 1, reason="credited", **ASKED)
    [row] = export(transact)
    assert (row["action"], row["original_number"]) == ("red", "25312000000012345678")
    assert take_in(transact, "1,red,25312000000012345679,2027-01-04,\n") == 1
    with transact() as conn:
        done = fiscal.get_fiscal(conn, TENANT, 1)
    assert (done.state, done.issued_on, done.red_number) == (
        "red_issued",
        date(2027, 1, 3),
        "25312000000012345679",
    )
    # What a cancelled document covered can be documented again.
    assert str(request(transact, statement_id).total) == "318.00"


def test_credits_reduce_the_document_and_a_statement_may_have_several(transact, statement_id: int) -> None:
    first = request(transact, statement_id, total=10001)
    assert (str(first.amount), str(first.tax)) == ("94.35", "5.66")
    with transact() as conn:
        credit_notes.issue(conn, TENANT, statement_id, [(1, Fraction(1, 3))], **CREDIT)
    second = request(transact, statement_id)
    assert str(second.total) == "111.99"  # 318.00 - 100.01 - 106.00
    assert second.numbers == ("RM-HOSPITAL-A-000001", "RM-HOSPITAL-A-CN-000001")
    with pytest.raises(FiscalNotPossible, match="nothing of RM-HOSPITAL-A-000001 is left"):
        request(transact, statement_id)
    with pytest.raises(FiscalNotPossible, match=r"0\.00 CNY can still be documented"):
        request(transact, statement_id, total=1)
    assert take_in(transact, "1,issue,,,the buyer's tax id is wrong\n") == 1
    assert state(transact) == "failed"
    assert str(request(transact, statement_id).total) == "100.01"


def test_one_document_may_cover_several_statements(
    transact, per_case: str, make_event, statement_id: int
) -> None:
    october = issue_statement(transact, per_case, make_event, at=datetime(2026, 10, 20, tzinfo=UTC))
    both = request(transact, statement_id, october)
    assert (str(both.total), len(both.numbers)) == ("636.00", 2)


def test_what_has_nothing_to_document_is_refused(transact, per_case: str, make_event) -> None:
    empty = issue_statement(transact, per_case, make_event, cases=0)
    for ids in ((), (empty,), (empty, empty)):
        with pytest.raises(FiscalNotPossible):
            request(transact, *ids)
    with pytest.raises(StatementNotFound):
        request(transact, 99)
    with pytest.raises(FiscalNotFound), transact() as conn:
        fiscal.request_red(conn, TENANT, 99, reason="x", **ASKED)


def test_a_refused_red_document_leaves_the_first_standing(transact, statement_id: int) -> None:
    request(transact, statement_id)
    take_in(transact, "1,issue,A1,2027-01-03,\n")
    with transact() as conn:
        fiscal.request_red(conn, TENANT, 1, reason="credited", **ASKED)
    take_in(transact, "1,red,,,the month is closed\n")
    with transact() as conn:
        document = fiscal.get_fiscal(conn, TENANT, 1)
        assert (document.state, document.number, document.remark) == ("cleared", "A1", "the month is closed")
        with pytest.raises(FiscalNotPossible, match="is cleared, not"):
            fiscal.move(conn, TENANT, 1, "failed", **ASKED)


BAD_ROWS = [
    ("9,issue,A1,2027-01-03,\n", "line 2: no fiscal document '9' was requested here"),
    ("1,pay,A1,2027-01-03,\n", "must be issue or red"),
    ("1,issue,A1,2027-01-03,\n1,issue,A1,2027-01-03,\n", "line 3: request 1 comes twice"),
    ("1,issue,A1,2027-01-03,no\n", "give `number` where it was issued"),
    ("1,issue,,,\n", "give `number` where it was issued"),
    ("1,issue,=A1,2027-01-03,\n", "needs 1 to 40 digits"),
    (f"1,issue,{'1' * 41},2027-01-03,\n", "needs 1 to 40 digits"),
    ("1,issue,A1,3.1.2027,\n", "needs a date like"),
    ("1,issue,A1,20270103,\n", "needs a date like"),
    ("1,red,A1,2027-01-03,\n", "is requested; it does not wait for this"),
    ("1,issue,A1,2027-01-03,\n2,issue,A1,2027-01-03,\n", "line 3: number A1 belongs to another document"),
    ("1,issue,A1\n", "line 2: needs 5 cells"),
    ("1,issue,A1,2027-01-03,,6\n", "line 2: needs 5 cells"),
    (f"1,issue,,,{'x' * 501}\n", "longer than 500"),
    ('"1,issue', "not a CSV file"),
    ("1\n" * 10_001, "more than 10000 rows"),
    ("x" * 1024 * 1024, "longer than 1048576 bytes"),
]


def test_a_file_with_a_problem_is_refused_whole(transact, statement_id: int) -> None:
    request(transact, statement_id, total=100)
    request(transact, statement_id)
    for rows, says in BAD_ROWS:
        with pytest.raises(FiscalFileRefused, match=says):
            take_in(transact, rows)
        assert (state(transact, 1), state(transact, 2)) == ("requested", "requested")


def test_what_is_not_such_a_file_is_told(transact, statement_id: int) -> None:
    for data in (b"\xff\xfe\x00", b"number,request\n1,2\n", b""):
        with pytest.raises(FiscalFileRefused), transact() as conn:
            fiscal_csv.take_in(conn, TENANT, data, **ASKED)


def test_a_buyer_named_like_a_formula_stays_text_in_the_export(transact, per_case: str, make_event) -> None:
    name = '=HYPERLINK("http://x","click")'
    text = per_case.replace("name: Demo Hospital (example buyer)", f"name: '{name}'")
    request(transact, issue_statement(transact, text, make_event))
    [row] = export(transact)
    assert row["buyer_name"] == f"'{name}"


def test_the_database_covers_nothing_twice_and_keeps_the_number(transact, statement_id: int, owner) -> None:
    request(transact, statement_id)
    with transact() as conn:
        conn.execute("""INSERT INTO billing.fiscal_item
            SELECT tenant, 2, item_number, statement_id, credit_note_id, 1, 0 FROM billing.fiscal_item""")
        with pytest.raises(psycopg.errors.CheckViolation, match="more than was billed"):
            conn.execute("""INSERT INTO billing.fiscal_document SELECT 2, tenant, seller_id, buyer_id, currency, state,
                1, 1, 0, 1, NULL, NULL, NULL, NULL, '', 'x', now(), 'x', now() FROM billing.fiscal_document""")
    take_in(transact, "1,issue,A1,2027-01-03,\n")
    for change in ("state = 'requested'", "state = 'red_requested', number = 'A2'", "state = 'failed'"):
        with pytest.raises(psycopg.Error):
            owner.execute(f"UPDATE billing.fiscal_document SET {change}")
