"""What a Stripe account holds, and what may become of it: as Stripe's reference describes the states."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Callable
from typing import Any

Object = dict[str, Any]
SEARCH_LAG_S = 60
ITEMS_MAX = 250


class Refused(Exception):
    """Stripe answers with an error and nothing changes."""

    def __init__(self, message: str, status: int = 400, type_: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.status = status
        self.type = type_


class State:
    """now: Stripe's clock in seconds. sources: customers whose card works. events: what webhooks tell."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.objects: dict[str, Object] = {}
        self.events: list[Object] = []
        self.paying_customers: set[str] = set()
        self.refund_status = "succeeded"
        self._ids = itertools.count(1)

    def of(self, kind: str) -> list[Object]:
        return [one for one in self.objects.values() if one["object"] == kind]

    def handle(self, method: str, path: str, params: Object) -> Object:
        for verb, pattern, handler in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and verb == method:
                params.pop("expand", None) if method == "POST" else None
                return copy.deepcopy(handler(self, params, *match.groups()))
        raise Refused(f"Unrecognized request URL ({method}: {path})", 404)

    def get(self, identifier: str, kind: str) -> Object:
        found = self.objects.get(identifier)
        if found is None or found["object"] != kind:
            raise Refused(f"No such {kind}: '{identifier}'", 404)
        return found

    def add(self, kind: str, prefix: str, **values: Any) -> Object:
        made = {"id": f"{prefix}_{next(self._ids):08d}", "object": kind, "created": int(self.now), **values}
        self.objects[made["id"]] = made
        return made

    def tell(self, type_: str, about: Object) -> None:
        number = next(self._ids)
        event = {"id": f"evt_{number:08d}", "object": "event", "type": type_, "created": int(self.now)}
        self.events.append({**event, "data": {"object": copy.deepcopy(about)}})

    def list(
        self, kind: str, params: Object, matches: Callable[[Object], bool] = lambda _one: True
    ) -> Object:
        """Newest first, a page at a time; what was just written is there."""
        since = int(params.get("created", {}).get("gte", 0))
        found = [one for one in reversed(self.of(kind)) if one["created"] >= since and matches(one)]
        if "starting_after" in params:
            ids = [one["id"] for one in found]
            found = found[ids.index(params["starting_after"]) + 1 :]
        limit = int(params.get("limit", 10))
        if not 1 <= limit <= 100:
            raise Refused("limit must be between 1 and 100")
        return {
            "object": "list",
            "data": found[:limit],
            "has_more": len(found) > limit,
            "url": f"/v1/{kind}s",
        }

    def search(self, kind: str, params: Object) -> Object:
        """By one field of metadata; what was just written is not there yet."""
        match = re.fullmatch(r"metadata\['([a-z_]+)'\]:'([^']*)'", params["query"])
        if match is None:
            raise Refused("We were unable to parse your search query")
        found = [
            one
            for one in reversed(self.of(kind))
            if one["metadata"].get(match[1]) == match[2] and one["created"] + SEARCH_LAG_S <= self.now
        ]
        limit = int(params.get("limit", 10))
        return {"object": "search_result", "data": found[:limit], "has_more": len(found) > limit, "url": ""}

    # What happens at Stripe without a call of ours

    def pay(self, invoice_id: str, amount: int | None = None) -> Object:
        """The payer pays an open invoice, on its hosted page say."""
        invoice = self.get(invoice_id, "invoice")
        assert invoice["status"] == "open", invoice["status"]
        paid = invoice["amount_remaining"] if amount is None else amount
        fee = paid * 29 // 1000 + 30
        balance = self.add("balance_transaction", "txn", amount=paid, fee=fee, currency=invoice["currency"])
        charge = self.add(
            "charge",
            "ch",
            amount=paid,
            currency=invoice["currency"],
            balance_transaction=balance["id"],
            transferred=0,
        )
        intent = self.add(
            "payment_intent",
            "pi",
            amount=paid,
            currency=invoice["currency"],
            latest_charge=charge["id"],
            refunded=0,
        )
        charge["payment_intent"] = intent["id"]
        self.add(
            "invoice_payment", "inpay", invoice=invoice_id, amount_paid=paid, amount_requested=paid, status="paid",
            currency=invoice["currency"], payment={"type": "payment_intent", "payment_intent": intent["id"]},
        )  # fmt: skip
        invoice["amount_remaining"] -= paid
        if not invoice["amount_remaining"]:
            invoice["status"] = "paid"
            self.tell("invoice.paid", invoice)
            self.tell("invoice.payment_succeeded", invoice)
        self.tell("invoice_payment.paid", self.of("invoice_payment")[-1])
        return intent

    def fail_refund(self, refund_id: str) -> None:
        refund = self.get(refund_id, "refund")
        refund["status"] = "failed"
        self.tell("refund.failed", refund)

    def dispute(self, intent_id: str) -> Object:
        intent = self.get(intent_id, "payment_intent")
        moved = self.add(
            "balance_transaction", "txn", amount=-intent["amount"], fee=1500, currency=intent["currency"]
        )
        made = self.add(
            "dispute", "dp", amount=intent["amount"], currency=intent["currency"], payment_intent=intent_id,
            reason="fraudulent", status="needs_response", balance_transactions=[moved],
        )  # fmt: skip
        self.tell("charge.dispute.created", made)
        self.tell("charge.dispute.funds_withdrawn", made)
        return made

    def win(self, dispute_id: str) -> None:
        made = self.get(dispute_id, "dispute")
        back = self.add("balance_transaction", "txn", amount=made["amount"], fee=0, currency=made["currency"])
        made["status"] = "won"
        made["balance_transactions"] = [*made["balance_transactions"], back]
        self.tell("charge.dispute.funds_reinstated", made)
        self.tell("charge.dispute.closed", made)


from tests.billing.fake_stripe_routes import ROUTES  # noqa: E402  # the routes work on the class above
