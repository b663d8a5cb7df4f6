"""The calls of Stripe's API that the rail makes, each as its reference describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.billing.fake_stripe_state import State

Object = dict[str, Any]


def refuse(message: str, status: int = 400, type_: str = "invalid_request_error") -> None:
    from tests.billing.fake_stripe_state import Refused

    raise Refused(message, status, type_)


def whole(params: Object, name: str, low: int | None = 1) -> int:
    text = str(params.get(name, ""))
    if not text.lstrip("-").isdecimal() or (low is not None and int(text) < low):
        refuse(f"Invalid integer: {name}")
    return int(text)


def create_customer(state: State, params: Object) -> Object:
    return state.add(
        "customer",
        "cus",
        name=params.get("name"),
        email=params.get("email"),
        metadata=params.get("metadata", {}),
    )


def create_invoice(state: State, params: Object) -> Object:
    state.get(params["customer"], "customer")
    method = params["collection_method"]
    if method == "send_invoice" and "days_until_due" not in params:
        refuse("days_until_due or due_date is needed for send_invoice")
    if params.get("pending_invoice_items_behavior", "exclude") != "exclude":
        refuse("this test allows no pending items")
    return state.add(
        "invoice", "in", customer=params["customer"], currency=params["currency"], collection_method=method,
        auto_advance=params.get("auto_advance") == "true", status="draft", total=0, amount_remaining=0,
        description=params.get("description"), metadata=params.get("metadata", {}), emails=0, credited=0,
    )  # fmt: skip


def get_invoice(state: State, params: Object, invoice_id: str) -> Object:
    invoice = state.get(invoice_id, "invoice")
    if "expand" not in params:
        return invoice
    paid = [one for one in state.of("invoice_payment") if one["invoice"] == invoice_id]
    return {**invoice, "payments": {"object": "list", "data": paid, "has_more": False, "url": ""}}


def list_invoices(state: State, params: Object) -> Object:
    return state.list("invoice", params, lambda one: one["customer"] == params["customer"])


def create_item(state: State, params: Object) -> Object:
    invoice = state.get(params["invoice"], "invoice")
    if invoice["status"] != "draft":
        refuse("This invoice is no longer editable")
    amount = whole(params, "amount", None)
    if sum(one["invoice"] == invoice["id"] for one in state.of("invoiceitem")) >= 250:
        refuse("An invoice can have at most 250 items")
    invoice["total"] += amount
    return state.add(
        "invoiceitem", "ii", invoice=invoice["id"], amount=amount, currency=params["currency"],
        description=params.get("description"), metadata=params.get("metadata", {}),
    )  # fmt: skip


def list_items(state: State, params: Object) -> Object:
    return state.list("invoiceitem", params, lambda one: one["invoice"] == params["invoice"])


def finalize(state: State, params: Object, invoice_id: str) -> Object:
    invoice = state.get(invoice_id, "invoice")
    if invoice["status"] != "draft":
        refuse("This invoice is already finalized, you can't re-finalize a non-draft invoice")
    invoice.update(
        status="open", amount_remaining=invoice["total"], auto_advance=params.get("auto_advance") == "true"
    )
    state.tell("invoice.finalized", invoice)
    return invoice


def send(state: State, params: Object, invoice_id: str) -> Object:
    invoice = state.get(invoice_id, "invoice")
    if invoice["status"] != "open" or not state.get(invoice["customer"], "customer")["email"]:
        refuse("You can only send open invoices to customers with an email")
    invoice["emails"] += 1
    state.tell("invoice.sent", invoice)
    return invoice


def pay(state: State, params: Object, invoice_id: str) -> Object:
    invoice = state.get(invoice_id, "invoice")
    if invoice["status"] != "open":
        refuse("Invoice is already paid")
    if invoice["customer"] not in state.paying_customers:
        refuse("Your card was declined.", 402, "card_error")
    state.pay(invoice_id)
    return invoice


def create_credit(state: State, params: Object) -> Object:
    invoice = state.get(params["invoice"], "invoice")
    amount, outside = whole(params, "amount"), int(params.get("out_of_band_amount", 0))
    if invoice["status"] not in ("open", "paid"):
        refuse("Credit notes are for open and paid invoices")
    if invoice["credited"] + amount > invoice["total"]:
        refuse("The credit notes of an invoice cannot exceed its total")
    if max(amount - invoice["amount_remaining"], 0) != outside:
        refuse("The sum of refund, credit and out of band amounts must equal the post payment amount")
    invoice["credited"] += amount
    invoice["amount_remaining"] -= amount - outside
    if not invoice["amount_remaining"]:
        invoice["status"] = "paid"
    return state.add(
        "credit_note", "cn", invoice=invoice["id"], amount=amount, metadata=params.get("metadata", {})
    )


def list_credits(state: State, params: Object) -> Object:
    return state.list("credit_note", params, lambda one: one["invoice"] == params["invoice"])


def create_refund(state: State, params: Object) -> Object:
    intent = state.get(params["payment_intent"], "payment_intent")
    amount = whole(params, "amount")
    if intent["refunded"] + amount > intent["amount"]:
        refuse("Refund amount is greater than unrefunded amount on charge")
    intent["refunded"] += amount
    made = state.add(
        "refund", "re", payment_intent=intent["id"], charge=intent["latest_charge"], amount=amount,
        currency=intent["currency"], status=state.refund_status, metadata=params.get("metadata", {}),
    )  # fmt: skip
    state.tell("refund.created", made)
    state.tell("charge.refunded", state.get(intent["latest_charge"], "charge"))
    return made


def list_refunds(state: State, params: Object) -> Object:
    name = "charge" if "charge" in params else "payment_intent"
    return state.list("refund", params, lambda one: one[name] == params[name])


def create_transfer(state: State, params: Object) -> Object:
    amount = whole(params, "amount")
    if not params["destination"].startswith("acct_"):
        refuse(f"No such destination: '{params['destination']}'")
    if "source_transaction" in params:
        charge = state.get(params["source_transaction"], "charge")
        if charge["transferred"] + amount > charge["amount"]:
            refuse("The transfers of a charge cannot exceed it")
        charge["transferred"] += amount
    return state.add(
        "transfer", "tr", amount=amount, amount_reversed=0, currency=params["currency"],
        destination=params["destination"], transfer_group=params["transfer_group"],
        source_transaction=params.get("source_transaction"), metadata=params.get("metadata", {}),
    )  # fmt: skip


def list_transfers(state: State, params: Object) -> Object:
    return state.list("transfer", params, lambda one: one["transfer_group"] == params["transfer_group"])


def create_reversal(state: State, params: Object, transfer_id: str) -> Object:
    transfer = state.get(transfer_id, "transfer")
    amount = whole(params, "amount")
    if transfer["amount_reversed"] + amount > transfer["amount"]:
        refuse("Reversals cannot exceed their transfer")
    transfer["amount_reversed"] += amount
    return state.add(
        "transfer_reversal", "trr", transfer=transfer_id, amount=amount, metadata=params.get("metadata", {})
    )


def list_reversals(state: State, params: Object, transfer_id: str) -> Object:
    return state.list("transfer_reversal", params, lambda one: one["transfer"] == transfer_id)


def get_intent(state: State, params: Object, intent_id: str) -> Object:
    intent = dict(state.get(intent_id, "payment_intent"))
    if "expand" in params:
        charge = dict(state.get(intent["latest_charge"], "charge"))
        charge["balance_transaction"] = state.objects.get(charge["balance_transaction"] or "")
        intent["latest_charge"] = charge
    return intent


def list_invoice_payments(state: State, params: Object) -> Object:
    intent = params["payment"]["payment_intent"]
    return state.list("invoice_payment", params, lambda one: one["payment"]["payment_intent"] == intent)


def search_of(kind: str) -> Any:
    return lambda state, params: state.search(kind, params)


def get_of(kind: str) -> Any:
    return lambda state, _params, identifier: state.get(identifier, kind)


ROUTES: list[tuple[str, str, Any]] = [
    ("GET", r"/v1/customers/search", search_of("customer")),
    ("POST", r"/v1/customers", create_customer),
    ("GET", r"/v1/invoices/search", search_of("invoice")),
    ("GET", r"/v1/invoices", list_invoices),
    ("POST", r"/v1/invoices", create_invoice),
    ("GET", r"/v1/invoices/(\w+)", get_invoice),
    ("POST", r"/v1/invoices/(\w+)/finalize", finalize),
    ("POST", r"/v1/invoices/(\w+)/send", send),
    ("POST", r"/v1/invoices/(\w+)/pay", pay),
    ("POST", r"/v1/invoiceitems", create_item),
    ("GET", r"/v1/invoiceitems", list_items),
    ("POST", r"/v1/credit_notes", create_credit),
    ("GET", r"/v1/credit_notes", list_credits),
    ("POST", r"/v1/refunds", create_refund),
    ("GET", r"/v1/refunds", list_refunds),
    ("GET", r"/v1/refunds/(\w+)", get_of("refund")),
    ("POST", r"/v1/transfers", create_transfer),
    ("GET", r"/v1/transfers", list_transfers),
    ("POST", r"/v1/transfers/(\w+)/reversals", create_reversal),
    ("GET", r"/v1/transfers/(\w+)/reversals", list_reversals),
    ("GET", r"/v1/payment_intents/(\w+)", get_intent),
    ("GET", r"/v1/invoice_payments", list_invoice_payments),
    ("GET", r"/v1/invoice_payments/(\w+)", get_of("invoice_payment")),
    ("GET", r"/v1/disputes/(\w+)", get_of("dispute")),
]
