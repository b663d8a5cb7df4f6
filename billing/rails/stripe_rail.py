"""Stripe: invoices of lines that are rated already, refunds, and transfers to connected accounts.

Each operation is a few calls, each with an idempotency key of its own under the operation's. Stripe forgets
keys after a day, so each call is made only where a list shows that its object is not there yet; lists see what
was written at once, searches only after a while. A cut-off operation is taken up where it stopped.
"""

from __future__ import annotations

from typing import Any

import stripe

from billing.rails.rail import Kind, Operation, Outcome, State
from billing.rails.stripe_client import (
    GENERATION,
    LINE,
    OPERATION,
    PAGE_SIZE,
    PARTY,
    STATEMENT,
    every,
    is_final,
    key_of,
    meta,
    metadata_of,
    outcome_of,
)


class StripeRail:
    """The rail `stripe`. client: see `stripe_client.make_client`."""

    name = "stripe"

    def __init__(self, client: stripe.StripeClient) -> None:
        self._v1 = client.v1

    def collect(self, operation: Operation) -> Outcome:
        """Customer, draft invoice, its lines, finalize, then send it or charge it. Money comes by webhook."""
        try:
            invoice = self._find_invoice(operation) or self._draft_invoice(operation)
            if invoice.status == "draft":
                invoice = self._finalize(operation, invoice)
        except stripe.StripeError as error:
            return outcome_of(error)
        except _TotalDiffers as error:
            return Outcome(State.FAILED, detail=str(error))
        return self._ask(operation, invoice)

    def credit(self, operation: Operation) -> Outcome:
        """Credit what is still due of the invoice; what was paid is credited as given back outside of Stripe."""
        try:
            found = self._v1.invoices.search(
                {"query": f"metadata['{OPERATION}']:'{operation.request['invoice']}'", "limit": 1}
            ).data
            if not found:
                return Outcome(State.INTENT, detail="Stripe does not show its invoice yet")
            invoice = self._v1.invoices.retrieve(str(found[0].id))
            note = self._find(
                operation, self._v1.credit_notes.list({"invoice": str(invoice.id), "limit": PAGE_SIZE})
            )
            if note is None:
                paid = max(operation.amount.amount_minor - invoice.amount_remaining, 0)
                values: Any = {
                    "invoice": str(invoice.id),
                    "amount": operation.amount.amount_minor,
                    "memo": operation.request["number"],
                    "metadata": metadata_of(operation),
                    **({"out_of_band_amount": paid} if paid else {}),
                }
                note = self._v1.credit_notes.create(values, key_of(operation, "credit"))
        except stripe.StripeError as error:
            return outcome_of(error)
        return Outcome(State.CONFIRMED, note.id)

    def refund(self, operation: Operation) -> Outcome:
        try:
            intent = str(operation.request["payment"])
            refund = self._find_refund(operation) or self._v1.refunds.create(
                {
                    "payment_intent": intent,
                    "amount": operation.amount.amount_minor,
                    "metadata": metadata_of(operation),
                },
                key_of(operation, "refund"),
            )
        except stripe.StripeError as error:
            return outcome_of(error)
        return refund_outcome(refund)

    def pay_out(self, operation: Operation) -> Outcome:
        """One transfer for each part, from the charge that its money came with; a connected account pays on."""
        found = 0
        try:
            there = self._find_transfers(operation)
            for number, part in enumerate(_parts(operation)):
                if str(number) not in there:
                    self._transfer(operation, number, part)
                found += 1
        except stripe.StripeError as error:
            outcome = outcome_of(error)
            if found and outcome.state is State.FAILED:  # money has moved: a person must look
                return Outcome(
                    State.UNKNOWN, detail=f"{found} of {len(_parts(operation))} sent; {outcome.detail}"
                )
            return outcome
        return Outcome(State.CONFIRMED, operation.name)

    def take_back(self, operation: Operation) -> Outcome:
        """Reverse the transfers of a payout, first to last, until the amount is reached."""
        rest, done = operation.amount.amount_minor, False
        try:
            payout = str(operation.request["payout"])
            for transfer in self._list_transfers(payout):
                reversal = self._find_reversal(operation, transfer)
                part = reversal.amount if reversal else min(rest, transfer.amount - transfer.amount_reversed)
                if reversal is None and part > 0:
                    self._v1.transfers.reversals.create(
                        str(transfer.id),
                        {"amount": part, "metadata": metadata_of(operation)},
                        key_of(operation, f"reversal:{transfer.id}"),
                    )
                rest, done = rest - part, done or part > 0
        except stripe.StripeError as error:
            outcome = outcome_of(error)
            return Outcome(State.UNKNOWN, detail=outcome.detail) if done and is_final(error) else outcome
        if rest:
            state = State.UNKNOWN if done else State.FAILED
            return Outcome(state, detail=f"{rest} minor units of it are not there to take back")
        return Outcome(State.CONFIRMED, operation.name)

    def look_up(self, operation: Operation) -> Outcome | None:
        try:
            return self._look_up(operation)
        except stripe.StripeError as error:
            outcome = outcome_of(error)
            return Outcome(State.UNKNOWN, operation.external_id, outcome.detail, outcome.retry_after_s)

    def _look_up(self, operation: Operation) -> Outcome | None:
        if operation.kind is Kind.COLLECT:
            invoice = self._find_invoice(operation)
            return None if invoice is None else _settled_invoice(invoice)
        if operation.kind is Kind.REFUND:
            refund = self._find_refund(operation)
            return None if refund is None else refund_outcome(refund)
        if operation.kind is Kind.PAY_OUT:
            is_whole = len(self._find_transfers(operation)) == len(_parts(operation))
            return Outcome(State.CONFIRMED, operation.name) if is_whole else None
        return None  # credit and take_back find for themselves what is there

    def _find_invoice(self, operation: Operation) -> Any:
        customer = self._find_customer(operation)
        if customer is None:
            return None
        since = {"gte": int(operation.created_at.timestamp()) - 3600}  # clocks differ
        asked: Any = {"customer": customer, "created": since, "limit": PAGE_SIZE}
        listed = self._v1.invoices.list(asked)
        found = self._find(operation, listed)
        is_over = found is not None and found.status in ("void", "uncollectible")
        # An invoice that was ended before the operation was begun anew is not the one that is asked for now.
        return None if is_over and meta(found, GENERATION) != str(operation.generation) else found

    def _draft_invoice(self, operation: Operation) -> Any:
        request = operation.request
        customer = self._find_customer(operation)
        if customer is None:
            values: Any = {"name": request["payer_name"], "metadata": {PARTY: _party(operation)}}
            values |= {"email": request["email"]} if request.get("email") else {}
            customer = str(self._v1.customers.create(values, key_of(operation, "customer")).id)
        is_sent = bool(request.get("email"))
        draft: Any = {
            "customer": customer,
            "currency": operation.amount.currency.lower(),
            "collection_method": "send_invoice" if is_sent else "charge_automatically",
            **({"days_until_due": request["days_until_due"]} if is_sent else {}),
            "auto_advance": False,  # a draft that was cut off must never finalize itself
            "pending_invoice_items_behavior": "exclude",
            "description": request["number"],
            "metadata": {**metadata_of(operation), STATEMENT: request["number"]},
        }
        drafted = self._v1.invoices.create(draft, key_of(operation, "invoice"))
        # A key that was used before answers as it did then; what has become of the invoice is asked anew.
        return self._v1.invoices.retrieve(str(drafted.id))

    def _finalize(self, operation: Operation, invoice: Any) -> Any:
        """Add the lines that are missing, require our total, finalize."""
        items = self._v1.invoice_items.list({"invoice": invoice.id, "limit": PAGE_SIZE})
        there = {meta(item, LINE) for item in every(items)}
        for number, line in enumerate(operation.request["lines"], start=1):
            if str(number) not in there:
                self._v1.invoice_items.create(
                    {
                        "customer": str(invoice.customer),
                        "invoice": invoice.id,
                        "amount": line["amount_minor"],
                        "currency": operation.amount.currency.lower(),
                        "description": line["description"],
                        "metadata": {**metadata_of(operation), LINE: str(number)},
                    },
                    key_of(operation, f"item:{number}"),
                )
        total = self._v1.invoices.retrieve(invoice.id).total
        if total != operation.amount.amount_minor:
            raise _TotalDiffers(total, operation)
        return self._v1.invoices.finalize_invoice(
            invoice.id, {"auto_advance": not operation.request.get("email")}, key_of(operation, "finalize")
        )

    def _ask(self, operation: Operation, invoice: Any) -> Outcome:
        """The invoice is open: from here on nothing may make a second one, so no error fails the operation."""
        settled = _settled_invoice(invoice)
        if settled is not None:
            return settled
        try:
            if operation.request.get("email"):
                self._v1.invoices.send_invoice(invoice.id, {}, key_of(operation, "send"))
            else:
                self._v1.invoices.pay(invoice.id, {}, key_of(operation, "pay"))
        except stripe.StripeError as error:
            if is_final(error):
                return Outcome(State.CONFIRMED, invoice.id, f"open at Stripe, but {outcome_of(error).detail}")
            outcome = outcome_of(error)
            return Outcome(State.UNKNOWN, detail=outcome.detail, retry_after_s=outcome.retry_after_s)
        return Outcome(State.CONFIRMED, invoice.id)

    def _find_customer(self, operation: Operation) -> str | None:
        if operation.request.get("customer"):
            return str(operation.request["customer"])
        found = self._v1.customers.search(
            {"query": f"metadata['{PARTY}']:'{_party(operation)}'", "limit": 1}
        ).data
        return str(found[0].id) if found else None

    def _find_refund(self, operation: Operation) -> Any:
        intent = str(operation.request["payment"])
        return self._find(operation, self._v1.refunds.list({"payment_intent": intent, "limit": PAGE_SIZE}))

    def _transfer(self, operation: Operation, number: int, part: dict[str, Any]) -> None:
        values: Any = {
            "amount": part["amount_minor"],
            "currency": operation.amount.currency.lower(),
            "destination": operation.request["account"],
            "transfer_group": operation.name,
            "description": operation.request["reference"],
            "metadata": {**metadata_of(operation), LINE: str(number)},
        }
        if part.get("source"):
            intent = self._v1.payment_intents.retrieve(part["source"])
            values["source_transaction"] = str(intent.latest_charge)
        self._v1.transfers.create(values, key_of(operation, f"transfer:{number}"))

    def _find_transfers(self, operation: Operation) -> set[str]:
        """The parts that are sent and stand, by an earlier generation too."""
        listed = self._list_transfers(operation.name)
        return {meta(one, LINE) for one in listed if one.amount_reversed < one.amount}

    def _list_transfers(self, group: str) -> list[Any]:
        listed = every(self._v1.transfers.list({"transfer_group": group, "limit": PAGE_SIZE}))
        return sorted(listed, key=lambda one: int(meta(one, LINE) or 0))

    def _find_reversal(self, operation: Operation, transfer: Any) -> Any:
        return self._find(
            operation, self._v1.transfers.reversals.list(str(transfer.id), {"limit": PAGE_SIZE})
        )

    def _find(self, operation: Operation, listed: Any) -> Any:
        """The newest object that was made for the operation, whichever try it was."""
        return next((one for one in every(listed) if meta(one, OPERATION) == operation.name), None)


class _TotalDiffers(Exception):
    def __init__(self, total: int, operation: Operation) -> None:
        super().__init__(
            f"Stripe would ask {total} minor units, the statement {operation.amount.amount_minor}"
        )


def refund_outcome(refund: Any) -> Outcome:
    """A refund may stay pending for days, and fail at the end."""
    states = {"succeeded": State.CONFIRMED, "failed": State.FAILED, "canceled": State.FAILED}
    return Outcome(states.get(str(refund.status), State.SENT), refund.id, f"refund {refund.status}")


def _settled_invoice(invoice: Any) -> Outcome | None:
    """None while the payer is still to be asked: a call goes on with it."""
    if invoice.status == "paid":
        return Outcome(State.CONFIRMED, invoice.id)
    if invoice.status in ("void", "uncollectible"):
        return Outcome(State.FAILED, invoice.id, f"{invoice.status} at Stripe")
    return None


def _parts(operation: Operation) -> list[dict[str, Any]]:
    return list(operation.request.get("parts") or [{"amount_minor": operation.amount.amount_minor}])


def _party(operation: Operation) -> str:
    return f"{operation.tenant}/{operation.request['payer_id']}"
