"""What is asked of a rail is asked in its own counting, or not at all."""

from __future__ import annotations

import pytest

from billing import rails
from billing.cash.payment_errors import CurrencyNotOnRail, RailAddressMissing
from billing.money import Money
from billing.rails import rail_operation
from billing.rails.rail import Kind
from tests.billing.payment_seeds import NOW, TENANT, add_address
from tests.billing.rails.worlds import PAYEE


def ask(conn, currency: str) -> int:
    amount = Money(5000, currency)
    return rails.request_payout(conn, TENANT, 1, payee_id=PAYEE, amount=amount, reference="PO-1", now=NOW)


@pytest.mark.parametrize("currency", ["ISK", "UGX", "MGA", "KWD"])
def test_a_currency_that_stripe_counts_otherwise_goes_by_bank(transact, owing, currency: str) -> None:
    with transact() as conn:
        add_address(conn, TENANT, PAYEE, rail="stripe", account="acct_payee")
        with pytest.raises(CurrencyNotOnRail, match="use bank transfer"):
            ask(conn, currency)
        assert rail_operation.list_operations(conn, TENANT) == []
        add_address(conn, TENANT, PAYEE)
        ask(conn, currency)
        operation = rail_operation.of_subject(conn, TENANT, Kind.PAY_OUT, 1)
        assert operation is not None
        assert operation.rail == "bank"


def test_a_payee_whose_account_nobody_named_is_not_paid(transact, owing) -> None:
    with transact() as conn, pytest.raises(RailAddressMissing, match="radmeter rails address dev-a"):
        ask(conn, "CNY")
