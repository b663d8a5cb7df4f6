"""What can go wrong with money that comes in or goes out."""

from __future__ import annotations

from billing.errors import BillingError
from billing.money import Money


class PaymentNotFound(BillingError, LookupError):
    """No payment or allocation has this id for this tenant."""


class PayerNotFound(BillingError, LookupError):
    """The payer is no party of this tenant; parties come with the contracts that name them."""

    def __init__(self, payer_id: str) -> None:
        super().__init__(f"no party {payer_id[:60]!r}: add the contract that names it, or check the spelling")


class PaymentConflict(BillingError):
    """This payment of this source was recorded before with other content; the first stays as it is."""

    def __init__(self, source: str, external_id: str) -> None:
        super().__init__(f"payment {external_id!r} of {source} was recorded before with other content")


class PaymentRefused(BillingError, ValueError):
    """A payment, refund or write-off has a value it cannot have."""


class AllocationTooLarge(BillingError, ValueError):
    """A payment cannot pay more than it brought, nor a statement take more than it asks."""

    def __init__(self, asked: Money, unapplied: Money, still_open: Money) -> None:
        super().__init__(
            f"{asked} {asked.currency} cannot be allocated: the payment has {unapplied} left, "
            f"the statement asks {still_open}"
        )


class NotApproved(BillingError):
    """Whoever asks for money to leave does not approve it: a second person does."""

    def __init__(self) -> None:
        super().__init__("it needs the approval of a second person, who is not the one that asks")


class RailOperationNotFound(BillingError, LookupError):
    """No rail operation has this id for this tenant."""


class RailOperationConflict(BillingError):
    """This was asked of a rail before with other content; the first stays as it is."""


class RailOperationNotAllowed(BillingError):
    """A rail operation does not go from its state to the one that was asked for."""


class RequestNotAllowed(BillingError, ValueError):
    """A rail sees listed fields only: amounts, names and numbers of documents, parties and accounts."""


class RailAddressMissing(BillingError, LookupError):
    """Nothing says where this party is to be paid, or by which rail."""


class BankFileRefused(BillingError, ValueError):
    """A file of bank lines cannot be read; nothing of it was stored."""


class BankLineNotFound(BillingError, LookupError):
    """No bank line has this id for this tenant."""


class BankLineUsed(BillingError):
    """What became of this bank line is settled already; a mistake is undone on the payment, not on the line."""


class NothingToOrder(BillingError, LookupError):
    """No refund and no payout waits for a file of payment orders."""


class MessageRefused(BillingError, ValueError):
    """A message that claims to come from a rail is not from it, or not from now."""


class CurrencyNotOnRail(BillingError, ValueError):
    """The rail counts this currency in another unit than its minor unit; use bank transfer for it."""

    def __init__(self, rail: str, currency: str) -> None:
        super().__init__(f"{rail} counts {currency} in another unit than we do: use bank transfer for it")
