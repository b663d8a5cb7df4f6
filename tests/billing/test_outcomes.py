"""Pay for effect: who may judge, how long, what stands where nobody does, and which month it belongs to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing.books import ledger
from billing.contracts import contract_diff, store
from billing.errors import BillingError
from billing.metering import meter, outcomes, voids
from billing.metering.usage import UsageEvent
from billing.rating.case_errors import (
    AdjudicatorIsPayee,
    AdjudicatorUnknown,
    OutcomeWithoutCase,
    WindowNotOver,
)
from billing.statements import statement

TENANT = "hospital-a"
NEW_YEAR = datetime(2027, 1, 2, tzinfo=UTC)
DELIVERED = datetime(2026, 11, 10, 4, tzinfo=UTC)
MakeEvent = Callable[..., UsageEvent]
TEXT = """
contract: effect
seller: {id: vendor, name: Vendor}
buyer: {id: hospital, name: Hospital}
parties:
  - {id: models-inc, name: Models Inc, role: developer}
  - {id: pay-co, name: Pay Co, role: insurer}
currency: CNY
time_zone: Asia/Shanghai
effective_from: 2026-01-01
tax: {name: VAT, rate: 0}
rates:
  - product: lung_nodule_ct
    title: {en: CT, zh: CT}
    unit: {en: case, zh: 例}
    price: {model: per_unit, unit_price: 100}
splits:
  - split: shares
    parties:
      - {party: pay-co, share: 0.1}
      - {party: vendor, residual: true}
outcome: {products: [lung_nodule_ct], window_days: 14, at_delivery: 0.2, none: 0.5, floor: 10}
"""


@pytest.fixture
def contract_id(transact) -> int:
    with transact() as conn:
        return store.add_contract(conn, TENANT, TEXT)


@pytest.fixture
def judge(transact, make_event: MakeEvent) -> Callable[..., None]:
    """`judge(1, "accepted")`: the verdict on the first delivery, two days after it."""

    def record(number: int, verdict: str, days: float = 2, by: str = "dr-7", **said: Any) -> None:
        at = DELIVERED + timedelta(minutes=10 * number, days=days)
        values: dict[str, Any] = {
            "event_id": f"outcome:{number}:{verdict}:{by}:{days}",
            "kind": "outcome",
            "occurred_at": at,
            "dimensions": {"verdict": verdict},
            "evidence": {"adjudicator": by} if by else {},
        }
        with transact() as conn:
            meter.record(conn, make_event(number, **{**values, **said}), received_at=NEW_YEAR)

    return record


def deliver(transact, make_event: MakeEvent, *numbers: int) -> None:
    with transact() as conn:
        for number in numbers:
            meter.record(conn, make_event(number), received_at=NEW_YEAR)


def november(transact, contract_id: int) -> str:
    """What November comes to now, in all that was issued and would be."""
    with transact() as conn:
        at = [datetime(2026, month, 20, tzinfo=UTC) for month in (11, 12)]
        drafts = {one.period: one for one in (statement.draft(conn, TENANT, contract_id, day) for day in at)}
        lines = [line.rated for one in drafts.values() for line in one.lines]
        return str(sum(line.amount.amount_minor for line in lines if line.service_start.month == 11) / 100)


def test_a_verdict_within_the_window_decides(transact, contract_id: int, make_event, judge) -> None:
    verdicts: list[tuple[str, float, int]] = [
        ("accepted", 2, 100),
        ("accepted", 14, 100),
        ("accepted", 14.001, 20),  # too late: as before any verdict
        ("accepted", -0.001, 20),  # before the delivery
        ("rejected", 2, 0),
    ]
    comes_to = 0
    for number, (verdict, days, amount) in enumerate(verdicts, start=1):
        deliver(transact, make_event, number)
        judge(number, verdict, days)
        comes_to += amount
        assert november(transact, contract_id) == f"{comes_to}.0"


def test_a_period_has_its_floor(transact, contract_id: int, make_event, judge) -> None:
    deliver(transact, make_event, 1)
    judge(1, "rejected")
    assert november(transact, contract_id) == "10.0"


def test_the_first_verdict_stands_until_it_is_void(transact, contract_id: int, make_event, judge) -> None:
    deliver(transact, make_event, 1)
    judge(1, "accepted")
    judge(1, "rejected", days=1)
    assert november(transact, contract_id) == "100.0"
    with transact() as conn:
        voids.void(
            conn, TENANT, "test", "outcome:1:accepted:dr-7:2", reason="wrong study", by="clerk", now=NEW_YEAR
        )
    assert november(transact, contract_id) == "10.0"
    with transact() as conn:
        voids.void(conn, TENANT, "test", "delivery:1", reason="wrong study", by="clerk", now=NEW_YEAR)
    judge(1, "accepted")  # sent again: known, though its case is gone
    with pytest.raises(OutcomeWithoutCase):
        judge(1, "accepted", days=3)


def test_a_verdict_after_the_month_is_a_correction_of_it(
    transact, contract_id: int, make_event, judge
) -> None:
    deliver(transact, make_event, 1, 2)
    with transact() as conn:
        issued = statement.issue(
            conn, TENANT, contract_id, DELIVERED, now=datetime(2026, 12, 1, tzinfo=UTC), close_early=True
        )
    assert str(issued.subtotal) == "40.00"
    judge(1, "accepted", days=13)
    assert november(transact, contract_id) == "120.0"
    with transact() as conn:
        second = statement.issue(conn, TENANT, contract_id, datetime(2026, 12, 20, tzinfo=UTC), now=NEW_YEAR)
        assert [line.rated.kind for line in second.lines] == ["correction", "correction"]
        assert ledger.check(conn, TENANT) == []


def test_the_sweeper_writes_the_default_once(transact, contract_id: int, make_event, judge) -> None:
    deliver(transact, make_event, 1, 2, 3)
    judge(1, "accepted")
    last = DELIVERED + timedelta(minutes=30, days=14)
    for now, written in (
        (last - timedelta(minutes=15), 0),
        (last - timedelta(minutes=5), 1),
        (last, 1),
        (last, 0),
    ):
        with transact() as conn:
            assert outcomes.settle_outcomes(conn, TENANT, now=now) == written
    assert november(transact, contract_id) == "200.0"
    judge(2, "rejected", days=13)  # heard of too late: the default stands
    assert november(transact, contract_id) == "200.0"


def test_a_verdict_that_may_not_be_is_refused_and_leaves_nothing(
    transact, contract_id: int, make_event, judge
) -> None:
    deliver(transact, make_event, 1)
    refused: list[tuple[dict[str, Any], type[BillingError], str]] = [
        ({"by": "vendor"}, AdjudicatorIsPayee, "'vendor' is paid for the result and cannot judge it"),
        ({"by": "models-inc"}, AdjudicatorIsPayee, "'models-inc' is paid"),
        ({"by": "pay-co"}, AdjudicatorIsPayee, "'pay-co' is paid"),
        ({"by": ""}, AdjudicatorUnknown, "needs the evidence `adjudicator`"),
        ({"case_key": "case-9"}, OutcomeWithoutCase, "name no billable case"),
        ({"verdict": "none"}, WindowNotOver, "the window of this case ends at 2026-11-24"),
    ]
    for said, error, sentence in refused:
        with pytest.raises(error, match=sentence):
            judge(1, **{"verdict": "accepted", **said})
    with transact() as conn:
        assert [one.event.kind for one in store.list_usage(conn, TENANT)] == ["result_delivered"]
    assert november(transact, contract_id) == "20.0"


def test_another_window_is_compared_on_recorded_usage(
    transact, owner, contract_id: int, make_event, judge
) -> None:
    """A verdict on the thirteenth day counts in a window of 14 days and not in one of 7."""
    deliver(transact, make_event, 1, 2)
    judge(1, "accepted", days=13)
    with transact() as conn:
        assert outcomes.settle_outcomes(conn, TENANT, now=NEW_YEAR) == 1
        stored = store.contract_at(conn, TENANT, contract_id, DELIVERED)
        period = stored.period_of(DELIVERED)
        assert period is not None
        usage = contract_diff.stored_usage(conn, TENANT, period)
    shorter = TEXT.replace("window_days: 14", "window_days: 7")
    changes = contract_diff.compare(owner, TEXT, shorter, usage)
    total = sum((one.difference.amount_minor for one in changes), 0)
    assert total == 50_00 - 100_00
