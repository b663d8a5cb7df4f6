"""A fee billed ahead becomes revenue by its days, and all of it in the end, whenever it is recognised or credited."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import pytest

from billing.books import accounting, close_items, deferred, ledger, reports
from billing.books.books_errors import NotEarnedYet
from billing.claims import credit_notes
from billing.contracts import store
from billing.money import Money, round_half_away_from_zero
from billing.period import local_midnight
from billing.statements import statement
from tests.conftest import ROOT

TENANT = "hospital-a"
LICENCE = (ROOT / "tests/golden/scenarios/P13-api-licence/contract.yaml").read_text()
FEE, DAYS = 30_000_000, 365
FEBRUARY_2 = datetime(2026, 2, 2, tzinfo=UTC)
FAR = datetime(2028, 1, 1, tzinfo=UTC)
START = date(2026, 1, 1)


def earned(day: date, fee: int = FEE) -> int:
    """Minor units that the days before `day` earn: plain arithmetic, no shared code."""
    passed = min(max((day - START).days, 0), DAYS)
    return (2 * fee * passed + DAYS) // (2 * DAYS)


def revenue(conn) -> int:
    row = conn.execute(
        "SELECT -coalesce(sum(amount_minor), 0) AS n FROM billing.posting WHERE account = 'revenue'"
    ).fetchone()
    return int(row["n"])


def left(conn) -> int:
    row = conn.execute(
        "SELECT -coalesce(sum(amount_minor), 0) AS n FROM billing.posting WHERE account LIKE 'deferred_revenue:%'"
    ).fetchone()
    return int(row["n"])


@pytest.fixture
def licence(transact) -> int:
    """A licence of 300,000.00 for 2026, billed in January; id of its statement."""
    with transact() as conn:
        accounting.set_zone(conn, TENANT, "Asia/Shanghai")
        contract_id = store.add_contract(conn, TENANT, LICENCE)
        january = datetime(2026, 1, 20, tzinfo=UTC)
        issued = statement.issue(conn, TENANT, contract_id, january, now=FEBRUARY_2, nil=True)
    assert issued.subtotal.amount_minor == FEE
    return issued.statement_id or 0


def test_what_january_earned_is_revenue_and_the_rest_is_deferred(transact, licence) -> None:
    with transact() as conn:
        assert (revenue(conn), left(conn)) == (earned(date(2026, 2, 1)), FEE - earned(date(2026, 2, 1)))
        assert ledger.check(conn, TENANT) == []


def test_a_year_of_months_recognises_exactly_the_whole(transact, licence) -> None:
    with transact() as conn:
        for number in range(3, 14):
            first = date(2026 + number // 13, (number - 1) % 12 + 1, 1)
            now = datetime(first.year, first.month, 2, tzinfo=UTC)
            (booked,) = deferred.recognise(conn, TENANT, first, now=now)
            assert booked.amount_minor > 0
            assert deferred.recognise(conn, TENANT, first, now=now) == [], "the same again books nothing"
            assert (revenue(conn), left(conn)) == (earned(first), FEE - earned(first))
            last_day = local_midnight(first, "Asia/Shanghai") - timedelta(microseconds=1)
            entry = conn.execute(
                "SELECT effective_at FROM billing.journal_entry ORDER BY sequence DESC LIMIT 1"
            ).fetchone()
            assert entry["effective_at"] == last_day, "in the month that earned it"
        assert (revenue(conn), left(conn)) == (FEE, 0)
        assert deferred.recognise(conn, TENANT, date(2027, 6, 1), now=FAR) == []
        assert ledger.check(conn, TENANT) == []


def test_days_that_are_not_over_earn_nothing(transact, licence) -> None:
    with transact() as conn, pytest.raises(NotEarnedYet):
        deferred.recognise(conn, TENANT, date(2026, 3, 1), now=FEBRUARY_2)


def test_the_roll_forward_of_a_month_names_what_was_added_and_recognised(transact, licence) -> None:
    since, until = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 4, 30, 16, tzinfo=UTC)
    with transact() as conn:
        deferred.recognise(conn, TENANT, date(2026, 5, 1), now=FAR)
        (rolled,) = reports.deferred_revenue(conn, TENANT, since, until)
    assert rolled.account == "deferred_revenue:p13-api"
    assert rolled.opening == Money(0, "CNY")
    moved = {name: amount.amount_minor for name, amount in rolled.by_template.items()}
    assert moved == {"statement_issued": -FEE, "revenue_recognised": earned(date(2026, 5, 1))}
    assert rolled.closing.amount_minor == earned(date(2026, 5, 1)) - FEE


@pytest.mark.parametrize("seed", range(4))
def test_credits_and_recognition_in_any_order_leave_what_the_days_have_earned(
    transact, licence, seed
) -> None:
    """After each step revenue is round(what is left of the fee × days), once recognised; in the end all of it."""
    rng = random.Random(seed)
    credited, day = Fraction(0), date(2026, 2, 1)
    with transact() as conn:
        for number in range(1, 7):
            day = min(day + timedelta(days=rng.randrange(1, 75)), date(2027, 1, 1))
            now = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
            if rng.random() < 0.6:
                deferred.recognise(conn, TENANT, day, now=now)
            if credited < 1 and rng.random() < 0.7:
                part = min(Fraction(1, rng.randrange(2, 8)), 1 - credited)
                credited += part
                credit_notes.issue(
                    conn,
                    TENANT,
                    licence,
                    [(1, part)],
                    reason=f"step {number}",
                    by="lin",
                    now=now,
                    approved_by="wang",
                )
            deferred.recognise(conn, TENANT, day, now=now)
            fee = FEE - round_half_away_from_zero(FEE * credited)
            assert revenue(conn) == earned(day, fee)
            assert left(conn) == fee - earned(day, fee)
            assert ledger.check(conn, TENANT) == []
        deferred.recognise(conn, TENANT, date(2027, 1, 1), now=FAR)
        assert (revenue(conn), left(conn)) == (fee, 0)


def test_a_whole_credit_leaves_neither_revenue_nor_deferred(transact, licence) -> None:
    with transact() as conn:
        credit_notes.issue(
            conn,
            TENANT,
            licence,
            [(1, None)],
            reason="cancelled",
            by="lin",
            approved_by="wang",
            now=FEBRUARY_2,
        )
        assert (revenue(conn), left(conn)) == (0, 0)
        assert deferred.recognise(conn, TENANT, date(2027, 1, 1), now=FAR) == []
        assert ledger.check(conn, TENANT) == []


def test_a_month_is_not_closed_before_what_it_earned_is_booked(transact, licence) -> None:
    (item,) = [one for one in close_items.ITEMS if one.name == "deferred"]
    with transact() as conn:
        march = accounting.month_named(conn, TENANT, "2026-03")
        due = Money(earned(date(2026, 4, 1)) - earned(date(2026, 2, 1)), "CNY")
        finding = item.look(conn, TENANT, march)
        assert (finding.is_done, finding.evidence) == (False, f"deferred_revenue:p13-api: {due} earned")
        deferred.recognise(conn, TENANT, date(2026, 4, 1), now=FAR)
        assert item.look(conn, TENANT, march).is_done


def test_the_next_statement_recognises_what_its_month_earned(transact, licence) -> None:
    with transact() as conn:
        statement.issue(
            conn, TENANT, 1, datetime(2026, 2, 20, tzinfo=UTC), now=datetime(2026, 3, 2, tzinfo=UTC), nil=True
        )
        assert revenue(conn) == earned(date(2026, 3, 1))


def test_a_closed_month_takes_no_recognition_and_the_next_one_does(transact, licence) -> None:
    with transact() as conn:
        february = accounting.month_named(conn, TENANT, "2026-02")
        accounting.begin_closing(conn, TENANT, february, by="ann", now=FAR)
        accounting.close(conn, TENANT, february, requested_by="ann", approved_by="bo", now=FAR)
        deferred.recognise(conn, TENANT, date(2026, 3, 1), now=FAR)
        entry = conn.execute(
            "SELECT effective_at FROM billing.journal_entry ORDER BY sequence DESC LIMIT 1"
        ).fetchone()
        assert entry["effective_at"] == february.end_at
        assert ledger.check(conn, TENANT) == []
