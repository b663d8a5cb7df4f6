"""Budgets and quotas: what is used, who is told once, and what waits or runs flagged, each with its sentence."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from billing.contracts import store
from billing.guarding import limits
from billing.guarding.guard import Answer
from billing.guarding.limits_errors import LimitNotChanged, LimitNotFound
from billing.metering import meter, usage_days
from billing.period import local_midnight
from billing.statements import statement
from tests.billing.conftest import NOON, TENANT
from tests.billing.limits_builders import (
    BUDGET,
    EVENING,
    MEMBERSHIP,
    QUOTA,
    ask,
    state,
    with_limits,
)


class TestTotals:
    def test_they_are_never_behind_and_adding_up_changes_nothing(self, transact, add, deliver) -> None:
        contract_id = add(QUOTA)
        deliver(1, 2)
        before = state(transact, contract_id)
        with transact() as conn:
            assert usage_days.refresh(conn, TENANT)
            assert usage_days.refresh(conn, TENANT)
        deliver(3)
        assert (before.used, state(transact, contract_id).used) == (2, 3)
        with transact() as conn:
            assert usage_days.refresh(conn, TENANT)
            row = conn.execute("SELECT quantity, event_count FROM billing.usage_day").fetchone()
        assert (row["quantity"], row["event_count"]) == (3, 3)
        assert state(transact, contract_id).used == 3

    def test_nothing_is_missed_while_somebody_records(self, transact, add, deliver, make_event) -> None:
        """An event that has its sequence and is not committed must not fall behind the mark."""
        contract_id = add(QUOTA)
        with transact() as slow:
            meter.record(slow, make_event(1), received_at=NOON)
            deliver(2)
            with transact() as conn:
                assert not usage_days.refresh(conn, TENANT)
        with transact() as conn:
            assert usage_days.refresh(conn, TENANT)
        assert state(transact, contract_id).used == 2

    def test_what_is_not_charged_counts_nowhere(self, transact, add, deliver) -> None:
        contract_id = add(QUOTA)
        deliver(1)
        deliver(2, purpose="test_peer")
        assert state(transact, contract_id).used == 1

    def test_a_day_is_the_contracts_own(self, transact, add, deliver) -> None:
        contract_id = add(QUOTA)
        midnight = local_midnight(date(2026, 11, 11), "Asia/Shanghai")
        deliver(1, at=midnight - timedelta(microseconds=1))
        deliver(2, 3, at=midnight)
        assert state(transact, contract_id, now=midnight - timedelta(seconds=1)).used == 1
        assert state(transact, contract_id, now=midnight).used == 2

    def test_a_scope_counts_its_own_usage_only(self, transact, add, deliver) -> None:
        contract_id = add("quotas: {id: north, units: 5, for: {site: north, product: lung_nodule_ct}}")
        deliver(1, 2, site="north")
        deliver(3, site="south")
        deliver(4)
        assert state(transact, contract_id).used == 2

    def test_a_budget_counts_what_the_statement_will_say(
        self, transact, graduated: str, add, deliver
    ) -> None:
        contract_id = add("budgets: {id: month, amount: 500.00}", text=graduated)
        deliver(*range(1, 13))  # ten are free, two cost 80
        found = state(transact, contract_id)
        with transact() as conn:
            draft = statement.draft(conn, TENANT, contract_id, NOON)
        assert (found.used, draft.subtotal.amount_minor) == (16000, 16000)
        assert found.percent == 32
        assert found.show(found.used) == "160.00 CNY"

    def test_a_budget_of_the_whole_contract_has_its_fees_and_one_of_a_product_has_not(
        self, transact, package: str, add, deliver
    ) -> None:
        """500 a month whatever comes, and 3,500 for each package of fifty."""
        contract_id = add(
            "budgets: {id: all, amount: 9000.00}",
            "budgets: {id: lung, amount: 9000.00, for: {product: lung_nodule_ct}}",
            text=package,
        )
        deliver(1)
        with transact() as conn:
            used = {one.limit.id: one.used for one in limits.states(conn, TENANT, contract_id, now=EVENING)}
        assert used == {"all": 400000, "lung": 350000}

    def test_the_term_adds_its_months_up(self, transact, add, deliver) -> None:
        contract_id = add("budgets: {id: all, amount: 9000.00, per: term}")
        deliver(1)
        deliver(2, at=NOON + timedelta(days=30))
        assert state(transact, contract_id, now=NOON + timedelta(days=31)).used == 20000

    def test_a_use_of_a_package_counts_in_a_quota_and_costs_no_budget(self, transact, happen) -> None:
        text = with_limits(MEMBERSHIP, "budgets: {id: b, amount: 9000.00, for: {product: screening}}",
                           "quotas: {id: q, units: 9, for: {product: screening}}")  # fmt: skip
        with transact() as conn:
            contract_id = store.add_contract(conn, TENANT, text)
        happen(1, "member_year")
        happen(2, "screening")
        with transact() as conn:
            used = {one.limit.id: one.used for one in limits.states(conn, TENANT, contract_id, now=EVENING)}
        assert used == {"b": 0, "q": 1}


class TestAlerts:
    def test_each_threshold_speaks_once_in_a_window(self, transact, add, deliver) -> None:
        add("quotas: {id: day, units: 4, per: day, alerts: [50, 80, 100]}")
        said = []
        for number in range(1, 7):
            deliver(number)
            with transact() as conn:
                said.append([one["percent"] for one in limits.watch(conn, TENANT, now=EVENING)])
        assert said == [[], [50], [], [80, 100], [], []]
        tomorrow = EVENING + timedelta(days=1)
        deliver(7, 8, at=tomorrow)
        with transact() as conn:
            assert [one["percent"] for one in limits.watch(conn, TENANT, now=tomorrow)] == [50]
            assert len(limits.list_alerts(conn, TENANT)) == 4

    def test_after_a_change_they_speak_of_the_new_limit(self, transact, add, deliver) -> None:
        contract_id = add("quotas: {id: day, units: 1, per: day, alerts: [100]}")
        deliver(1)
        with transact() as conn:
            assert len(limits.watch(conn, TENANT, now=EVENING)) == 1
            limits.change(conn, TENANT, contract_id, "day", Decimal(2), by="a", reason="b", now=EVENING)
            assert limits.watch(conn, TENANT, now=EVENING) == []
        deliver(2)
        with transact() as conn:
            assert [one["bound"] for one in limits.watch(conn, TENANT, now=EVENING)] == [2]


class TestChange:
    def test_a_raised_limit_lets_work_go_on(self, transact, add, deliver) -> None:
        contract_id = add(BUDGET)
        deliver(*range(1, 11))
        assert ask(transact).answer is Answer.WAIT
        with transact() as conn:
            raised = limits.change(
                conn,
                TENANT,
                contract_id,
                "month",
                Decimal("1500.00"),
                by="finance",
                reason="flu",
                now=EVENING,
            )
        assert (raised.bound, raised.percent) == (150000, 66)
        assert ask(transact).answer is Answer.RUN
        assert (
            ask(transact, now=EVENING - timedelta(hours=1)).answer is Answer.WAIT
        )  # not before it was raised

    @pytest.mark.parametrize(
        ("bound", "by", "reason"),
        [
            ("0", "a", "b"),
            ("-1", "a", "b"),
            ("1.005", "a", "b"),
            ("NaN", "a", "b"),
            ("1", " ", "b"),
            ("1", "a", ""),
        ],
    )
    def test_one_that_says_nothing_is_refused(self, transact, add, bound: str, by: str, reason: str) -> None:
        contract_id = add(BUDGET)
        with transact() as conn, pytest.raises(LimitNotChanged):
            limits.change(
                conn, TENANT, contract_id, "month", Decimal(bound), by=by, reason=reason, now=EVENING
            )

    def test_a_limit_that_is_not_there_is_not_changed(self, transact, add) -> None:
        contract_id = add(BUDGET)
        with transact() as conn, pytest.raises(LimitNotFound):
            limits.change(conn, TENANT, contract_id, "year", Decimal(1), by="a", reason="b", now=EVENING)
