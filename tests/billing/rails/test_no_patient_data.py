"""What a rail sees is amounts, numbers and names of parties: canaries planted in all of usage never arrive there."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest

from billing import rails
from billing.cash.payment_errors import RailOperationConflict, RequestNotAllowed
from billing.contracts import store
from billing.metering import meter
from billing.money import Money
from billing.rails import rail_operation
from billing.rails.rail import Kind
from billing.statements import statement
from tests.billing.payment_seeds import NOW, TENANT, cny
from tests.billing.rails.conftest import SHARED
from tests.billing.rails.test_stripe_faults import ask_payout
from tests.billing.rails.worlds import KEY, SECRET, StripeWorld

NOVEMBER = datetime(2026, 11, 20, tzinfo=UTC)
CANARIES = {
    "study_ref": "canary-study",
    "case_key": "canary-case",
    "dimensions": {
        "department": "canary-department",
        "campus": "canary-campus",
        "referring_site": "canary-site",
        "payer_class": "canary-payer-class",
        "patient_class": "canary-patient-class",
        "sending_peer": "canary-peer",
    },
    "evidence": {"delivery": "canary-evidence"},
    "event_id": "canary-event",
}


def test_no_canary_of_usage_reaches_stripe_and_no_key_reaches_database_or_log(
    transact, owner, per_case: str, make_event, caplog: pytest.LogCaptureFixture
) -> None:
    world = StripeWorld(transact)
    with caplog.at_level(logging.DEBUG):
        with transact() as conn:
            contract_id = store.add_contract(conn, TENANT, per_case + SHARED)
            meter.record(conn, make_event(1, **CANARIES), received_at=NOVEMBER)
            issued = statement.issue(conn, TENANT, contract_id, NOVEMBER, now=NOW)
            world.add_addresses(conn)
            operation_id = rails.request_collect(conn, TENANT, issued.statement_id or 0, now=NOW)
        ask_payout(transact, world)
        world.worker().run_once()
        with transact() as conn:
            operation = rail_operation.find(conn, TENANT, operation_id or 0)
        world.payer_pays(operation, "106.00")
    sent = "\n".join(f"{call.raw} {sorted(call.headers.items())}" for call in world.http.calls)
    assert "RM-HOSPITAL-A-000001" in sent
    assert len(world.http.calls) > 10
    assert "canary" not in sent.lower()
    written = caplog.text
    for table in (
        "rail_operation",
        "rail_transition",
        "webhook_inbox",
        "payment",
        "posting",
        "journal_entry",
    ):
        written += str(owner.execute(f"SELECT * FROM billing.{table}").fetchall())
    for secret in (KEY, SECRET):
        assert secret not in written
    assert "canary" not in written.lower()


@pytest.mark.parametrize(
    "content",
    [
        {"study": "x"},
        {"lines": [{"description": "x", "patient": "y"}]},
        {"reference": "1.2.840.113619.2.55.3"},
        {"payer_name": "a\nb"},
        {"payer_name": "a" * 301},
        {"lines": [{"amount_minor": 1.5}]},
        {"lines": [{}] * 10_001},
    ],
)
def test_a_field_that_no_rail_may_see_stops_the_request(transact, owing, content) -> None:
    with transact() as conn, pytest.raises(RequestNotAllowed):
        rail_operation.request(
            conn,
            TENANT,
            rail="stripe",
            kind=Kind.COLLECT,
            subject_id=1,
            amount=cny(1),
            content=content,
            now=NOW,
        )


def test_the_same_request_for_another_amount_is_a_conflict(transact, owing) -> None:
    def ask(conn, amount: Money) -> int:
        return rail_operation.request(
            conn, TENANT, rail="bank", kind=Kind.COLLECT, subject_id=1, amount=amount, content={}, now=NOW
        )

    with transact() as conn:
        first = ask(conn, cny(100))
        assert ask(conn, cny(100)) == first
        with pytest.raises(RailOperationConflict):
            ask(conn, cny(101))
