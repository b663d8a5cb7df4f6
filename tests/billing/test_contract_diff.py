"""Two versions of a contract on the same usage: what changes, line by line, and nothing stored."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from billing.contracts import contract, contract_diff, store
from billing.contracts.simulate import Received
from billing.errors import CurrencyMismatch, NothingToCompare
from billing.metering import meter, voids
from billing.metering.usage import UsageEvent

TENANT = "hospital-a"
MakeEvent = Callable[..., UsageEvent]
NOON = datetime(2026, 11, 10, 4, tzinfo=UTC)


def simulated(make_event: MakeEvent, count: int) -> list[Received]:
    events = [make_event(number, tenant="simulation") for number in range(count)]
    return [Received(event, event.occurred_at) for event in events]


def test_only_what_changes_is_listed_and_the_sums_hold_everything(
    transact, make_event: MakeEvent, per_case: str
) -> None:
    new = per_case.replace("100.00", "90.00").replace("2026-01-01", "2027-03-01")
    with transact() as conn:
        changes = contract_diff.compare(conn, per_case, new, simulated(make_event, 3))
    [change] = changes
    assert (change.key, str(change.before), str(change.after)) == ("lung_nodule_ct/units", "300.00", "270.00")
    assert [" ".join(row.split()) for row in contract_diff.render_text(changes).splitlines()] == [
        "before after difference",
        "1 Nov 2026",
        "Lung nodule detection, chest CT (lung_nodule_ct/units) 300.00 270.00 -30.00",
        "all lines 300.00 270.00 -30.00",
        "total, tax excluded 300.00 270.00 -30.00",
    ]


def test_another_model_gives_other_lines(
    transact, make_event: MakeEvent, per_case: str, graduated: str
) -> None:
    with transact() as conn:
        changes = contract_diff.compare(conn, per_case, graduated, simulated(make_event, 12))
    assert [(one.key, str(one.before), str(one.after)) for one in changes] == [
        ("lung_nodule_ct/free", "0.00", "0.00"),
        ("lung_nodule_ct/tier-1", "0.00", "160.00"),
        ("lung_nodule_ct/units", "1,200.00", "0.00"),
    ]


def test_the_usage_of_a_recorded_month_is_taken_without_what_is_void(
    transact, make_event: MakeEvent, per_case: str
) -> None:
    period = contract.load(per_case).period_of(NOON)
    assert period is not None
    with transact() as conn:
        store.add_contract(conn, TENANT, per_case)
        for number in range(4):
            meter.record(conn, make_event(number), received_at=NOON + timedelta(days=1))
        voids.void(
            conn,
            TENANT,
            "test",
            "delivery:2",
            reason="wrong study",
            by="auditor",
            now=NOON + timedelta(days=2),
        )
        usage = contract_diff.stored_usage(conn, TENANT, period)
        changes = contract_diff.compare(conn, per_case, per_case.replace("100.00", "100.01"), usage)
        assert [str(one.difference) for one in changes] == ["0.03"]
        assert len(store.list_usage(conn, TENANT)) == 5
        assert [one.contract.name for one in store.list_contracts(conn, TENANT)] == ["per-case-2026"]


def test_what_cannot_be_compared_is_told(transact, make_event: MakeEvent, per_case: str) -> None:
    euro = per_case.replace("currency: CNY", "currency: EUR")
    with transact() as conn:
        with pytest.raises(CurrencyMismatch):
            contract_diff.compare(conn, per_case, euro, simulated(make_event, 1))
        with pytest.raises(NothingToCompare, match="no usage: take a month that has some"):
            contract_diff.compare(conn, per_case, per_case, [])
