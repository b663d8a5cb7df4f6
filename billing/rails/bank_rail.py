"""Bank transfer by hand: statements are paid by transfer, refunds and payouts go out in a file of orders.

Nothing is called, so nothing can be in doubt: an order that was taken over waits for the next file
(`billing.bank.order`), and the bank's statement confirms it (`billing.bank.settle`).
"""

from __future__ import annotations

from billing.rails.rail import Kind, Operation, Outcome, State


class BankRail:
    """The rail `bank`."""

    name = "bank"

    def collect(self, operation: Operation) -> Outcome:
        """The statement says where to pay; its number in the remittance text finds it again."""
        return Outcome(State.CONFIRMED, str(operation.request["number"]), "paid by transfer, with its number")

    def credit(self, operation: Operation) -> Outcome:
        return Outcome(
            State.CONFIRMED, str(operation.request["number"]), "the credit note itself tells the payer"
        )

    def refund(self, operation: Operation) -> Outcome:
        return self._order(operation)

    def pay_out(self, operation: Operation) -> Outcome:
        return self._order(operation)

    def take_back(self, operation: Operation) -> Outcome:
        detail = f"the transfer of {operation.amount} cannot be taken back: deduct it from the next payout"
        return Outcome(State.FAILED, detail=detail)

    def look_up(self, operation: Operation) -> Outcome | None:
        return self._order(operation) if operation.kind in (Kind.REFUND, Kind.PAY_OUT) else None

    def _order(self, operation: Operation) -> Outcome:
        return Outcome(
            State.SENT, operation.reference, "in the next file of orders, until the bank confirms it"
        )
