"""Shares leave by transfers that are tied to the charge that brought their money, and never take more than it has."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from billing import rails
from billing.books import ledger
from billing.cash import payments
from billing.contracts import store
from billing.metering.usage import UsageEvent
from billing.rails import rail_operation
from billing.splits import payout, payout_statement
from billing.splits.payout_statement import Account
from tests.billing.payment_seeds import PAYER, TENANT, add_address, allocate, issue_month, receive
from tests.billing.rails.conftest import DECEMBER
from tests.billing.rails.worlds import StripeWorld

JANUARY = datetime(2027, 1, 20, tzinfo=UTC)
SPLITS = """
parties:
  - {id: dev-a, name: Developer A, role: developer}
  - {id: dev-b, name: Developer B, role: developer}
splits:
  - split: app
    basis: collected
    parties:
      - {party: dev-a, share: 0.70}
      - {party: dev-b, share: 0.20}
      - {party: radmeter-imaging, residual: true}
"""


@pytest.fixture
def world(transact, per_case: str, make_event: Callable[..., UsageEvent]) -> StripeWorld:
    """November's 212.00 came by Stripe, December's 106.00 by bank; both developers have accounts at Stripe."""
    made = StripeWorld(transact)
    with transact() as conn:
        contract_id = store.add_contract(conn, TENANT, per_case + SPLITS)
        november = issue_month(conn, TENANT, contract_id, [make_event(1), make_event(2)])
        december = issue_month(
            conn, TENANT, contract_id, [make_event(3, occurred_at=DECEMBER)], month=DECEMBER
        )
        made.add_addresses(conn)
        add_address(conn, TENANT, "dev-b", rail="stripe", account="acct_b")
        operation_id = rails.request_collect(conn, TENANT, november.statement_id or 0, now=made.clock.now)
        by_bank = receive(conn, TENANT, PAYER, 10600)
        allocate(conn, by_bank.payment_id, december.statement_id or 0)
    made.worker().run_once()
    with transact() as conn:
        operation = rail_operation.find(conn, TENANT, operation_id or 0)
    made.payer_pays(operation, "212.00")
    with transact() as conn:
        assert {one.source for one in payments.list_payments(conn, TENANT)} == {"stripe", "bank"}
    made.advance(days=40)  # January is over
    return made


def pay_out(transact, world: StripeWorld, party_id: str) -> int:
    with transact() as conn:
        payee = Account(TENANT, "radmeter-imaging", party_id, "CNY")
        payout_statement.issue(conn, payee, JANUARY, by="lin", now=world.clock.now)
        asked = next(one for one in payout.list_payouts(conn, TENANT) if one.party_id == party_id)
        payout.approve(conn, TENANT, asked.payout_id, by="wang", now=world.clock.now)
    world.worker().run_once()
    return asked.payout_id


def test_each_transfer_names_the_charge_and_what_came_by_bank_names_none(transact, world) -> None:
    first, second = pay_out(transact, world, "dev-a"), pay_out(transact, world, "dev-b")
    [charge] = world.state.of("charge")
    sent = [
        (one["destination"], one["amount"], one["source_transaction"]) for one in world.state.of("transfer")
    ]
    assert sent == [
        ("acct_payee", 14000, charge["id"]), ("acct_payee", 7000, None),
        ("acct_b", 4000, charge["id"]), ("acct_b", 2000, None),
    ]  # fmt: skip
    assert charge["transferred"] == 18000
    with transact() as conn:
        assert {payout.get(conn, TENANT, one).state for one in (first, second)} == {"confirmed"}
        payout.ask_back(conn, TENANT, first, now=world.clock.now)
    world.worker().run_once()
    assert [one["amount_reversed"] for one in world.state.of("transfer")] == [14000, 7000, 0, 0]
    with transact() as conn:
        assert payout.get(conn, TENANT, first).state == "returned"
        assert ledger.check(conn, TENANT) == []


def test_a_charge_of_which_others_took_most_gives_only_the_rest(transact, world, owner) -> None:
    """Money of the charge went back: what is left of it is less than the share, and the remainder names no charge."""
    owner.execute("SET session_replication_role = replica")  # the statement stays paid: the worst case
    owner.execute(
        """INSERT INTO billing.refund (tenant, payment_id, kind, external_id, amount_minor, reason,
           requested_by, requested_at) SELECT tenant, payment_id, 'returned', 're_1', 20000, 'chargeback',
           'stripe', now() FROM billing.payment WHERE source = 'stripe'"""
    )
    pay_out(transact, world, "dev-a")
    sent = [(one["amount"], one["source_transaction"] is not None) for one in world.state.of("transfer")]
    assert sent == [(1200, True), (19800, False)]
