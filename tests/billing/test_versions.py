"""A new version changes what comes; what a term was billed ahead stays as it was."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from billing.contracts import store
from billing.errors import ContractVersionRefused
from billing.metering import meter
from billing.statements import statement

TENANT = "hospital-a"
NEW_YEAR = datetime(2027, 6, 1, tzinfo=UTC)
YEARLY = """\
contract: yearly
seller: {id: s, name: Seller}
buyer: {id: b, name: Buyer}
currency: CNY
time_zone: America/New_York
effective_from: 2026-01-01
term: {months: 12, from: 2026-01-01}
tax: {name: VAT, rate: 0}
rates:
  - product: licence
    title: {en: Licence, zh: 许可}
    unit: {en: bed, zh: 床}
    price:
      model: subscription
      per: term
      amount: 365.00
      items:
        - {from: 2026-01-01, quantity: 10}
"""
MORE = YEARLY.replace("effective_from: 2026-01-01", "effective_from: 2026-07-01")


def issue(transact, contract_id: int, month: int, year: int = 2026) -> list[int]:
    with transact() as conn:
        issued = statement.issue(
            conn, TENANT, contract_id, datetime(year, month, 15, tzinfo=UTC), now=NEW_YEAR, nil=True
        )
    return [line.rated.amount.amount_minor for line in issued.lines]


def test_beds_that_a_new_version_adds_are_made_up_by_days(transact) -> None:
    with transact() as conn:
        contract_id = store.add_contract(conn, TENANT, YEARLY)
    assert issue(transact, contract_id, 1) == [365_000]
    with transact() as conn:
        store.add_contract(conn, TENANT, MORE + "        - {from: 2026-07-11, quantity: 12}\n")
    assert [issue(transact, contract_id, month) for month in (6, 7, 8)] == [[], [2 * 174 * 100], []]
    assert issue(transact, contract_id, 1, 2027) == [12 * 36500]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            MORE + "        - {from: 2026-05-11, quantity: 12}\n",
            "licence rewrites what was billed before 2026-07-01",
        ),
        (MORE.replace("365.00", "400.00"), "licence rewrites what was billed before 2026-07-01"),
        (MORE.replace("months: 12", "months: 6"), "the term runs until 2027-01-01: keep `term` until then"),
        (MORE.replace("product: licence", "product: other"), "keep it and end its items with `until`"),
    ],
)
def test_what_a_term_was_billed_is_not_rewritten(transact, text: str, message: str) -> None:
    with transact() as conn:
        store.add_contract(conn, TENANT, YEARLY)
        with pytest.raises(ContractVersionRefused, match=message):
            store.add_contract(conn, TENANT, text)


def test_with_a_new_term_everything_may_change(transact) -> None:
    text = YEARLY.replace("effective_from: 2026-01-01", "effective_from: 2027-01-01")
    with transact() as conn:
        contract_id = store.add_contract(conn, TENANT, YEARLY)
        store.add_contract(conn, TENANT, text.replace("365.00", "400.00").replace("months: 12", "months: 6"))
    assert issue(transact, contract_id, 1, 2027) == [400_000]


MINIMUM = (
    YEARLY[: YEARLY.index("rates:")].replace("months: 12", "months: 3")
    + """\
rates:
  - {product: lung_nodule_ct, title: {en: C, zh: C}, unit: {en: c, zh: c}, price: {model: per_unit, unit_price: 10}}
"""
)
LEAST = "commitments:\n  - {id: least, title: {en: L, zh: L}, minimum: 1000, over: term}\n"


def test_late_usage_of_a_term_reaches_its_true_up_under_a_version_without_one(transact, make_event) -> None:
    with transact() as conn:
        contract_id = store.add_contract(conn, TENANT, MINIMUM + LEAST)
        store.add_contract(conn, TENANT, MINIMUM.replace("2026-01-01\nterm", "2026-04-01\nterm"))
    assert [issue(transact, contract_id, month) for month in (1, 2, 3)] == [[], [], [100_000]]
    with transact() as conn:
        february = datetime(2026, 2, 10, tzinfo=UTC)
        meter.record(conn, make_event(1, occurred_at=february), received_at=datetime(2026, 4, 3, tzinfo=UTC))
        meter.record(conn, make_event(2, occurred_at=datetime(2026, 4, 9, tzinfo=UTC)), received_at=NEW_YEAR)
    assert issue(transact, contract_id, 4) == [1000, 1000, -1000]
