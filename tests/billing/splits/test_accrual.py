"""Allocations are stored at issue, sum to their lines, and are taken back and released from what is stored."""

from __future__ import annotations

from datetime import UTC, date, datetime
from fractions import Fraction

import psycopg
import pytest

from billing import queries
from billing.books import ledger
from billing.claims import credit_notes
from billing.contracts import store
from billing.metering import meter
from billing.splits import contribution
from billing.splits.contribution import Contribution
from billing.splits.errors import ContributionFixed, ContributionMissing, ContributionRefused
from billing.statements import statement

TENANT = "hospital-a"
NOVEMBER = datetime(2026, 11, 20, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 20, tzinfo=UTC)
NEW_YEAR = datetime(2027, 1, 2, tzinfo=UTC)
POOL = """
splits:
  - split: data
    basis: billed
    parties:
      - {pool: hospitals, share: 0.30}
      - {party: radmeter-imaging, residual: true}
"""
TIERS = """
splits:
  - split: app
    parties:
      - {party: dev-a, tiers: [{up_to: 2, share: 0.60}, {share: 0.80}], cap: 350.00}
      - {party: radmeter-imaging, residual: true}
"""


def allocations(transact, statement_id: int) -> dict[str, int]:
    with transact() as conn:
        rows = queries.rows(conn, "split_states", {"tenant": TENANT, "statement_id": statement_id})
    return {row["party_id"]: row["amount_minor"] for row in rows}


def states(transact, statement_id: int) -> dict[str, tuple[int, int, int]]:
    """Party → accrued, reversed, released."""
    with transact() as conn:
        rows = queries.rows(conn, "split_states", {"tenant": TENANT, "statement_id": statement_id})
    return {r["party_id"]: (r["amount_minor"], r["reversed_minor"], r["released_minor"]) for r in rows}


def balances(transact) -> dict[str, int]:
    """Account → minor units over the whole journal; the books are sound."""
    with transact() as conn:
        assert ledger.check(conn, TENANT) == []
        rows = conn.execute("SELECT account, sum(amount_minor) AS n FROM billing.posting GROUP BY account")
        return {row["account"]: int(row["n"]) for row in rows if row["n"]}


def credit(transact, statement_id: int, share: Fraction | int | None, line: int = 1) -> None:
    with transact() as conn:
        credit_notes.issue(
            conn, TENANT, statement_id, [(line, share)], reason="recount", by="clerk", now=NEW_YEAR
        )


def test_the_pool_is_shared_by_the_weights_of_the_period(transact, sign, weigh, bill) -> None:
    contract_id = sign(POOL)
    weigh(contract_id, east_hospital=2, west_hospital="1.00000001")
    issued = bill(contract_id, 3)
    assert allocations(transact, issued.statement_id) == {
        "east-hospital": 6_000,
        "radmeter-imaging": 21_000,
        "west-hospital": 3_000,
    }
    booked = balances(transact)
    assert booked["split_payable:east-hospital"] == -6_000
    assert booked["split_cost:west-hospital"] == 3_000
    assert not any(account.endswith("radmeter-imaging") for account in booked)


def test_without_weights_nothing_is_issued_and_the_sentence_says_what_to_do(transact, sign, bill) -> None:
    contract_id = sign(POOL)
    with pytest.raises(ContributionMissing, match="radmeter contribution set"):
        bill(contract_id, 1)
    with transact() as conn:
        assert store.list_statements(conn, TENANT) == []


def test_weights_can_be_set_again_until_the_period_is_issued(transact, sign, weigh, bill, owner) -> None:
    contract_id = sign(POOL)
    weigh(contract_id, east_hospital=1)
    weigh(contract_id, west_hospital=1)
    issued = bill(contract_id, 1)
    assert allocations(transact, issued.statement_id) == {"radmeter-imaging": 7_000, "west-hospital": 3_000}
    with pytest.raises(ContributionFixed):
        weigh(contract_id, east_hospital=1)
    with pytest.raises(psycopg.errors.RestrictViolation, match="fixed"):
        owner.execute(
            "INSERT INTO billing.contribution SELECT tenant, contract_id, pool, period_start, 9, party_id, 1, 'e', "
            "'me', now() FROM billing.contribution LIMIT 1"
        )
    weigh(contract_id, at=DECEMBER, east_hospital=1)


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        ({"north_hospital": 1}, "not among the parties"),
        ({"east_hospital": 0}, "above 0"),
        ({"east_hospital": "0.000000001"}, "at most 8 decimals"),
        ({"east_hospital": "NaN"}, "above 0"),
        ({}, "1 to 10000 parties"),
        ({"pool": "others", "east_hospital": 1}, "no pool 'others'"),
    ],
)
def test_unsound_weights_are_refused(sign, weigh, weights: dict[str, object], why: str) -> None:
    contract_id = sign(POOL)
    with pytest.raises(ContributionRefused, match=why):
        weigh(contract_id, **weights)


def test_weights_need_their_evidence(transact, sign) -> None:
    contract_id = sign(POOL)
    given = [Contribution("east-hospital", contribution.WEIGHT_MAX, "")]
    with transact() as conn, pytest.raises(ContributionRefused, match="evidence"):
        contribution.set_weights(
            conn, TENANT, contract_id, "hospitals", NOVEMBER, given, by="clerk", now=NOVEMBER
        )


def test_late_usage_moves_the_tier_of_the_whole_period_and_the_cap_still_holds(
    transact, sign, bill, make_event
) -> None:
    contract_id = sign(TIERS)
    november = bill(contract_id, 2)
    assert allocations(transact, november.statement_id)["dev-a"] == 12_000
    with transact() as conn:
        meter.record(conn, make_event(50), received_at=DECEMBER)
    december = bill(contract_id, 0, at=DECEMBER)
    # three cases at 80 %: 240.00, of which 120.00 were allocated
    assert allocations(transact, december.statement_id) == {"dev-a": 12_000, "radmeter-imaging": -2_000}
    with transact() as conn:
        for number in (51, 52):
            meter.record(conn, make_event(number), received_at=NEW_YEAR)
        january = statement.issue(
            conn,
            TENANT,
            contract_id,
            datetime(2027, 1, 5, tzinfo=UTC),
            now=datetime(2027, 2, 2, tzinfo=UTC),
            nil=True,
        )
    # five cases at 80 % would be 400.00; the cap is 350.00
    assert allocations(transact, january.statement_id) == {"dev-a": 11_000, "radmeter-imaging": 9_000}
    assert -balances(transact)["split_accrued:dev-a"] == 35_000


def test_credits_in_thirds_take_back_exactly_everything(transact, sign, weigh, bill) -> None:
    contract_id = sign(POOL)
    weigh(contract_id, east_hospital=1, west_hospital=1)
    issued = bill(contract_id, 1)
    for part in (Fraction(1, 3), Fraction(1, 3), None):
        credit(transact, issued.statement_id, part)
        for accrued, reversed_, released in states(transact, issued.statement_id).values():
            assert released in (0, accrued - reversed_)
    assert {a - r for a, r, _ in states(transact, issued.statement_id).values()} == {0}
    assert not {name: n for name, n in balances(transact).items() if name.startswith("split")}


def test_each_part_of_a_credit_is_taken_back_whole(transact, sign, weigh, bill) -> None:
    contract_id = sign(POOL)
    weigh(contract_id, east_hospital=1, west_hospital=2)
    issued = bill(contract_id, 1)
    for credited in (1, 7, 99, 3_333):
        before = sum(r for _, r, _ in states(transact, issued.statement_id).values())
        credit(transact, issued.statement_id, credited)
        assert sum(r for _, r, _ in states(transact, issued.statement_id).values()) == before + credited


def test_the_database_refuses_parts_that_do_not_sum_to_the_line(transact, sign, weigh, bill, owner) -> None:
    contract_id = sign(POOL)
    weigh(contract_id, east_hospital=1)
    bill(contract_id, 1)
    for change in ("'treasury', a.base_minor, 1", "'treasury', 1, 0"):
        with pytest.raises(psycopg.errors.CheckViolation, match="does not sum to its basis"):
            owner.execute(
                f"""INSERT INTO billing.split_allocation (tenant, statement_id, line_number, split, basis, is_own,
                line_key, service_start, currency, accrued_at, party_id, base_minor, amount_minor)
                SELECT tenant, statement_id, line_number, split, basis, false, line_key, service_start, currency,
                accrued_at, {change} FROM billing.split_allocation a LIMIT 1"""
            )
    for table in ("split_allocation", "split_reversal", "party_movement", "contribution"):
        with transact() as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
            conn.execute(f"DELETE FROM billing.{table}")


def test_a_line_goes_to_the_first_split_that_covers_it_and_one_without_is_not_shared(
    transact, sign, bill
) -> None:
    contract_id = sign(
        """
splits:
  - {split: none-of-it, of: {products: [lung_nodule_ct]}, basis: billed, parties: [
      {party: dev-a, share: 0.5}, {party: treasury, weight: 2.5}, {party: east-hospital, weight: 7.5}]}
  - {split: all, parties: [{party: treasury, residual: true}]}
"""
    )
    issued = bill(contract_id, 1)
    assert allocations(transact, issued.statement_id) == {
        "dev-a": 5_000,
        "east-hospital": 3_750,
        "treasury": 1_250,
    }


def test_an_insurance_reserve_is_put_by_for_each_case_and_released_with_credit(transact, sign, bill) -> None:
    contract_id = sign(
        """
liability:
  shares: [{party: radmeter-imaging, share: 0.30}, {party: demo-hospital, share: 0.70}]
  reserve_per_case: 0.55
"""
    )
    issued = bill(contract_id, 3)
    assert allocations(transact, issued.statement_id) == {"demo-hospital": 116, "radmeter-imaging": 49}
    assert balances(transact)["reserve:radmeter-imaging"] == -49
    credit(transact, issued.statement_id, Fraction(1, 2))
    assert balances(transact)["reserve:radmeter-imaging"] == -24
    credit(transact, issued.statement_id, None)
    assert "reserve:radmeter-imaging" not in balances(transact)


def test_each_service_period_goes_by_its_own_version_of_the_contract(
    transact, sign, shared, bill, make_event
) -> None:
    contract_id = sign(TIERS)
    bill(contract_id, 1)
    later = shared(TIERS.replace("share: 0.60", "share: 0.10")).replace(
        "effective_from: 2026-01-01", "effective_from: 2026-12-01"
    )
    with transact() as conn:
        assert store.add_contract(conn, TENANT, later) == contract_id
        meter.record(conn, make_event(50), received_at=DECEMBER)
    december = bill(contract_id, 1, at=DECEMBER)
    assert [line.rated.service_start for line in december.lines] == [date(2026, 12, 1), date(2026, 11, 1)]
    with transact() as conn:
        rows = queries.rows(conn, "split_states", {"tenant": TENANT, "statement_id": december.statement_id})
    shares = {(r["line_number"], r["party_id"]): r["amount_minor"] for r in rows}
    assert (shares[1, "dev-a"], shares[2, "dev-a"]) == (1_000, 6_000)


def test_the_statements_of_several_payers_are_shared_as_one(transact, sign, bill) -> None:
    contract_id = sign(
        POOL.replace("{pool: hospitals, share: 0.30}", "{party: dev-a, share: 0.3333, cap: 100.00}")
        + """
payers:
  - copay: {payer: treasury, fraction: 0.3}
    residual: demo-hospital
"""
    )
    bill(contract_id, 4)
    with transact() as conn:
        [first, second] = store.list_statements(conn, TENANT)
    parts = [allocations(transact, one.statement_id)["dev-a"] for one in (first, second)]
    assert sum(parts) == 10_000
    assert sorted(one.subtotal.amount_minor for one in (first, second)) == [12_000, 28_000]
    assert balances(transact)["split_payable:dev-a"] == -10_000
