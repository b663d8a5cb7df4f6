"""Any sequence of batches, repeats, conflicts, voids, releases and dismissals, against a naive model of all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.books import ledger
from billing.contracts import store
from billing.errors import NotQuarantined, UsageEventNotFound, VoidRefused
from billing.metering import meter, voids
from billing.metering.usage import UsageEvent
from billing.statements import statement

TENANT = "hospital-a"
NOW = datetime(2026, 11, 20, tzinfo=UTC)
MakeEvent = Callable[..., UsageEvent]

# number: which event; variant: its payload. Few of each, so that they meet.
SENT = st.tuples(st.integers(0, 7), st.integers(0, 1))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.lists(SENT, min_size=1, max_size=4)),
        st.tuples(st.sampled_from(["void", "release", "dismiss"]), st.integers(0, 7)),
    ),
    max_size=14,
)


@dataclass
class Naive:
    """What should be: plain dictionaries, one event at a time, no shared code."""

    batch: int = 0
    order: dict[int, tuple[int, int]] = field(default_factory=dict)
    payload: dict[int, int] = field(default_factory=dict)
    reason: dict[int, str] = field(default_factory=dict)

    def holder(self, case: int) -> int | None:
        charged = [
            n for n, why in self.reason.items() if n % 2 == case and why in ("first_delivery", "in_place")
        ]
        return charged[0] if charged else None

    def decide(self, number: int) -> str:
        return "first_delivery" if self.holder(number % 2) is None else "already_charged"

    def send(self, number: int, variant: int) -> str:
        if number in self.payload:
            return "known" if self.payload[number] == variant else "conflict"
        self.payload[number] = variant
        self.order[number] = (self.batch, number)  # a batch is recorded in the order of its ids
        self.reason[number] = (
            "refused" if number == 6 else "clock_ahead" if number == 7 else self.decide(number)
        )
        return "created"

    def void(self, number: int) -> bool:
        if self.reason.get(number, "voided") == "voided":
            return False
        self.reason[number] = "voided"
        if self.holder(number % 2) is None:
            waiting = [
                n for n, why in self.reason.items() if n % 2 == number % 2 and why == "already_charged"
            ]
            self.reason.update((n, "in_place") for n in sorted(waiting, key=lambda n: self.order[n])[:1])
        return True

    def settle(self, number: int, what: str) -> bool:
        if self.reason.get(number) != "clock_ahead":
            return False
        self.reason[number] = self.decide(number) if what == "release" else "dismissed"
        return True


def event(make_event: MakeEvent, number: int, variant: int) -> UsageEvent:
    """Two cases among eight events; the sixth was refused, the seventh is from the future."""
    ahead = {"occurred_at": NOW + timedelta(hours=3)} if number == 7 else {}
    kind = {"kind": "refused"} if number == 6 else {}
    return make_event(number, case_key=f"case-{number % 2}", quantity=Decimal(variant + 1), **ahead, **kind)


def apply(conn, naive: Naive, make_event: MakeEvent, step: tuple[str, object]) -> None:
    what, argument = step
    if what == "send":
        assert isinstance(argument, list)
        batch = [event(make_event, *sent) for sent in argument]
        naive.batch += 1
        made = meter.record_many(conn, TENANT, batch, received_at=NOW)
        expected = [naive.send(*sent) for sent in argument]
        assert [str(one.status) for one in made] == expected
    elif what == "void":
        naive_says = naive.void(argument)
        try:
            voids.void(conn, TENANT, "test", f"delivery:{argument}", reason="x", by="p", now=NOW)
            assert naive_says
        except (VoidRefused, UsageEventNotFound):
            assert not naive_says
    else:
        naive_says = naive.settle(argument, what)
        settle = meter.release if what == "release" else meter.dismiss
        try:
            settle(conn, TENANT, "test", f"delivery:{argument}", "p", now=NOW)
            assert naive_says
        except (NotQuarantined, UsageEventNotFound):
            assert not naive_says


@pytest.fixture
def conn(transact, per_case: str):
    with transact() as conn:
        store.add_contract(conn, TENANT, per_case)
        yield conn


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
def test_whatever_is_sent_the_decisions_are_those_of_the_naive_model(
    conn, make_event: MakeEvent, steps
) -> None:
    naive = Naive()
    with conn.transaction(force_rollback=True):
        for step in steps:
            apply(conn, naive, make_event, step)
        rows = [row for row in store.list_usage(conn, TENANT, 1000) if row.event.kind != "void"]
        assert {
            int(row.event.event_id.split(":")[1]): row.decision.reason_code.value for row in rows
        } == naive.reason
        # accepted = billable + not billable + quarantined, and at most one billable for each case
        outcomes = Counter(row.decision.outcome.value for row in rows)
        assert len(rows) == len(naive.payload) == sum(outcomes.values())
        assert set(outcomes) <= {"billable", "not_billable", "quarantined"}
        charged = Counter(row.event.case_key for row in rows if row.decision.is_billable)
        assert set(charged.values()) <= {1}
        at = make_event(0).occurred_at
        [contract] = store.list_contracts(conn, TENANT)
        draft = statement.draft(conn, TENANT, contract.contract_id, at)
        priced = sum(int(row.event.quantity) for row in rows if row.decision.is_billable)
        assert draft.subtotal.amount_minor == priced * 100_00
        assert ledger.check(conn, TENANT) == []
