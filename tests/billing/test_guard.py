"""The guard before a study: what waits, what runs flagged, and what is under way beside it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from billing.guarding import guard
from billing.guarding.guard import Answer
from tests.billing.conftest import TENANT
from tests.billing.limits_builders import BUDGET, EVENING, LUNG, QUOTA, ask, under_way


def test_within_the_limit_work_runs(transact, add, deliver) -> None:
    add(QUOTA)
    deliver(1, 2)
    assert ask(transact).answer is Answer.RUN


def test_at_the_limit_work_waits_and_the_sentence_says_why(transact, add, deliver) -> None:
    add(QUOTA)
    deliver(1, 2, 3)
    found = ask(transact)
    assert (found.answer, found.limit_id) == (Answer.WAIT, "day")
    assert found.explanation == (
        "The quota day of contract per-case-2026 is reached: 3 of 3 in this day are used. "
        "It waits until the limit is raised or begins anew at 2026-11-10 16:00 UTC."
    )
    assert found.turns_at == datetime(2026, 11, 10, 16, tzinfo=UTC)
    assert ask(transact, now=found.turns_at).answer is Answer.RUN


def test_what_is_under_way_counts(transact, add, deliver) -> None:
    add(QUOTA)
    deliver(1)
    assert ask(transact, under_way=under_way(1)).answer is Answer.RUN
    assert ask(transact, under_way=under_way(2)).answer is Answer.WAIT


def test_urgent_work_runs_and_is_flagged(transact, add, deliver) -> None:
    add(BUDGET)
    deliver(*range(1, 11))
    found = ask(transact, is_urgent=True)
    assert (found.answer, found.limit_id) == (Answer.RUN_FLAGGED, "month")
    assert found.explanation.endswith("It is urgent and runs all the same.")


def test_a_budget_counts_what_is_under_way_at_its_price(transact, add, deliver) -> None:
    add(BUDGET)
    deliver(*range(1, 9))
    assert ask(transact, under_way=under_way(1)).answer is Answer.RUN  # 800 and one of 100
    assert ask(transact, under_way=under_way(2)).answer is Answer.WAIT


def test_a_budget_counts_what_is_under_way_before_anything_is_delivered(transact, add) -> None:
    add(BUDGET)
    assert ask(transact, under_way=under_way(9)).answer is Answer.RUN
    found = ask(transact, under_way=under_way(10))
    assert found.answer is Answer.WAIT
    assert (
        "has no room for one more: 0.00 CNY of 1,000.00 CNY in this month are used and 10 are"
        in found.explanation
    )


def test_a_budget_has_no_room_for_what_costs_more_than_is_left(transact, add, deliver) -> None:
    add(BUDGET.replace("1000.00", "950.00"))
    deliver(*range(1, 10))
    assert ask(transact).answer is Answer.WAIT


def test_what_is_free_or_inside_a_minimum_costs_no_budget(transact, graduated: str, add) -> None:
    add("budgets: {id: month, amount: 160.00, when_reached: wait}", text=graduated)
    assert ask(transact, under_way=under_way(11)).answer is Answer.RUN  # ten are free, two cost 80
    assert ask(transact, under_way=under_way(12)).answer is Answer.WAIT


def test_only_what_the_limit_covers_counts_of_what_is_under_way(transact, add) -> None:
    add("quotas: {id: north, units: 1, for: {site: north}, when_reached: wait}")
    north = {"site": "north"}
    assert ask(transact, dimensions=north, under_way=under_way(5, site="south")).answer is Answer.RUN
    assert ask(transact, dimensions=north, under_way=under_way(5, product="x", **north)).answer is Answer.RUN
    assert ask(transact, dimensions=north, under_way=under_way(1, **north)).answer is Answer.WAIT


def test_a_limit_that_only_alerts_holds_nothing_back(transact, add, deliver) -> None:
    add("quotas: {id: day, units: 1, per: day}")
    deliver(1, 2)
    assert ask(transact).answer is Answer.RUN


def test_another_site_is_not_held_back(transact, add, deliver) -> None:
    add("quotas: {id: north, units: 1, for: {site: north}, when_reached: wait}")
    deliver(1, site="north")
    assert ask(transact, dimensions={"site": "south"}).answer is Answer.RUN
    assert ask(transact, dimensions={"site": "north"}).answer is Answer.WAIT


def test_a_product_without_contract_runs(transact) -> None:
    assert ask(transact) == guard.MayRun(Answer.RUN)


def test_every_decision_is_stored_once_with_its_sentence(transact, add, deliver) -> None:
    contract_id = add(QUOTA)
    deliver(1, 2, 3)
    with transact() as conn:
        for now in (EVENING, EVENING + timedelta(minutes=1), EVENING + timedelta(hours=8)):
            found = guard.may_run(conn, TENANT, LUNG, is_urgent=False, now=now)
            guard.note(conn, TENANT, "s-1", 1, LUNG, found, now=now)
        stored = guard.list_decisions(conn, TENANT, study_ref="s-1")
        assert guard.flag_of(conn, TENANT, "s-1", 1, LUNG) is None
    assert [(one["verdict"], one["limit_id"], one["contract_id"]) for one in reversed(stored)] == [
        ("wait", "day", contract_id),
        ("run", "", contract_id),
    ]
    assert all(one["explanation"] for one in stored)
