"""Real transactions side by side: what a limit lets run is what it says, however many ask in one moment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from billing.contracts import store as billing_store
from billing.guarding import limits
from pipeline.limit_gate import hold_back
from pipeline.store import StudyRecord
from tests.billing.limits_builders import with_limits
from tests.conftest import ROOT
from tests.pipeline.conftest import ALPHA, Clinic
from tests.pipeline.test_limit_gate import ONE_A_DAY, deliver, look, routed, take

ANOTHER_PRODUCT = """  - product: chest_radiograph
    title: {en: "Chest radiograph", zh: "胸片"}
    unit: {en: case, zh: 例}
    price: {model: per_unit, unit_price: 10.00}
"""


def agree(clinic: Clinic, limit: str, more: str = "") -> int:
    text = (ROOT / "examples/contract_per_case.yaml").read_text() + more
    with clinic.database.transaction(ALPHA) as conn:
        return billing_store.add_contract(conn, ALPHA, with_limits(text, limit))


@pytest.mark.parametrize(
    "limit",
    [
        ONE_A_DAY.replace("units: 1", "units: 3"),
        "budgets: {id: month, amount: 399.99, when_reached: wait}",  # a case costs 100
    ],
)
def test_of_many_that_ask_in_one_moment_as_many_run_as_there_is_room_for(clinic: Clinic, limit: str) -> None:
    agree(clinic, limit)
    studies = [routed(clinic, number) for number in range(1, 9)]
    together = threading.Barrier(len(studies))

    def ask(study: StudyRecord) -> bool:
        together.wait()
        return hold_back(clinic.database, study, now=datetime.now(UTC)) is None

    with ThreadPoolExecutor(len(studies)) as threads:
        may_run = list(threads.map(ask, studies))
    assert may_run.count(True) == 3
    # Asked again, as after a crash of the step, each has the same answer: room is taken once.
    assert [hold_back(clinic.database, one, now=datetime.now(UTC)) is None for one in studies] == may_run


def test_two_looks_and_a_new_study_share_one_room(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    contract_id = agree(clinic, ONE_A_DAY)
    routed(clinic, 1)
    deliver(clinic, 1, monkeypatch)
    for number in (2, 3, 4):
        take(clinic, routed(clinic, number))
    newcomer = routed(clinic, 5)
    with clinic.database.transaction(ALPHA) as conn:
        now = datetime.now(UTC)
        limits.change(conn, ALPHA, contract_id, "daily", Decimal(2), by="finance", reason="flu", now=now)
    together = threading.Barrier(3)

    def asked() -> int:
        together.wait()
        return int(hold_back(clinic.database, newcomer, now=datetime.now(UTC)) is None)

    def looked() -> int:
        together.wait()
        return look(clinic)

    with ThreadPoolExecutor(3) as threads:
        made = [threads.submit(one) for one in (looked, looked, asked)]
    assert sum(one.result() for one in made) == 1


def test_two_products_of_one_study_do_not_share_one_room(clinic: Clinic) -> None:
    of_both = "quotas: {id: both, units: 1, when_reached: wait}"
    agree(clinic, of_both, ANOTHER_PRODUCT)
    study = routed(clinic, 1, route='[{"product": "lung_nodule_ct"}, {"product": "chest_radiograph"}]')
    held = hold_back(clinic.database, study, now=datetime.now(UTC))
    assert held is not None
    assert "0 of 1 in this month are used and 1 are under way" in held.reason[1]
