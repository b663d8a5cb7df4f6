"""What can go wrong between usage and money."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date


class BillingError(Exception):
    """Usage could not be turned into money."""


class CurrencyUnknown(BillingError, ValueError):
    """The text is not an active ISO 4217 currency code."""

    def __init__(self, code: str) -> None:
        super().__init__(f"not an ISO 4217 currency: {code[:20]!r}")
        self.code = code


class CurrencyMismatch(BillingError, ValueError):
    """Amounts of two currencies cannot be added or compared."""

    def __init__(self, left: str, right: str) -> None:
        super().__init__(f"{left} and {right} do not mix")


class AllocationImpossible(BillingError, ValueError):
    """An amount cannot be shared out over weights that are negative or sum to zero."""


class InvalidUsageEvent(BillingError, ValueError):
    """A usage event was built with a value it cannot hold."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"usage event, {field}: {problem}")
        self.field = field


class IdentifierInUsage(InvalidUsageEvent):
    """A field of a usage event is shaped like a DICOM UID; billing holds opaque references only."""

    def __init__(self, field: str) -> None:
        # The value itself is not repeated: errors end in logs.
        super().__init__(field, "looks like a UID; only opaque references may enter billing")


class UsageEventConflict(BillingError):
    """This event id was recorded before with another payload; the first stays as it is."""

    def __init__(self, source: str, event_id: str) -> None:
        super().__init__(f"event {event_id!r} of source {source!r} was recorded before with another payload")
        self.source = source
        self.event_id = event_id


class UsageEventNotFound(BillingError, LookupError):
    """No usage event has this source and id for this tenant."""


class VoidRefused(BillingError):
    """This usage event cannot be declared void: it is void already, or it is a void itself."""


class NotQuarantined(BillingError):
    """Only an event whose current decision is `quarantined` can be decided again."""


@dataclass(frozen=True, order=True)
class ContractProblem:
    """One thing that is wrong in a contract file. line: from 1."""

    line: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


class ContractError(BillingError, ValueError):
    """A contract file cannot be used; `problems` says where and why, all at once."""

    def __init__(self, problems: list[ContractProblem]) -> None:
        self.problems = sorted(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


class ContractNotFound(BillingError, LookupError):
    """No contract has this id for this tenant, or none of its versions was in force then."""


class ContractOverlap(BillingError):
    """Two contracts of a tenant would price the same product at the same time."""

    def __init__(self, product: str, other: str) -> None:
        super().__init__(f"product {product!r} is already priced by contract {other!r}")
        self.product = product
        self.other = other


class ContractVersionRefused(BillingError):
    """A new version may change prices and terms from a period's start on, and nothing that was billed."""


class NoRate(BillingError):
    """An event was recorded as billable and no rate of its contract prices it; nothing is dropped in silence."""

    def __init__(self, product: str, day: date, dimensions: Mapping[str, str]) -> None:
        told = ", ".join(f"{name}={value or '(none)'}" for name, value in dimensions.items())
        super().__init__(f"no rate of {product} on {day}{' for ' if told else ''}{told}")


class AmountUnusable(BillingError):
    """A price is a share of the amount that an event carries, and the event carries none, or one of another money."""

    def __init__(self, product: str, found: str, currency: str) -> None:
        what = f"an amount in {found}" if found else "no amount"
        super().__init__(
            f"an event of {product} carries {what}: void it and send it again with an amount in {currency}"
        )


class NothingToCompare(BillingError):
    """Two versions of a contract are compared on usage, and there is none or too much of it."""


class StatementNotFound(BillingError, LookupError):
    """No statement has this id for this tenant."""


class PeriodNotEnded(BillingError):
    """A period is billed after its end, unless it is closed early on purpose."""


class NothingToState(BillingError):
    """A period without a line has no statement, unless a nil statement is wanted, which closes it."""

    def __init__(self, period: object) -> None:
        super().__init__(
            f"nothing is charged for {period}, so there is no line to state; where the customer is to get a statement "
            "of zero all the same, issue a nil statement: it takes a number and closes the period"
        )


class PeriodOutsideContract(BillingError):
    """The contract was not in force in this period."""


class QuarantineNotEmpty(BillingError):
    """Events of the period still wait for a decision; release or dismiss them first."""

    def __init__(self, event_count: int) -> None:
        super().__init__(f"{event_count} usage event(s) of the period are in quarantine")
        self.event_count = event_count


class OutOfBounds(BillingError):
    """The figures of a period break a bound: the account waits for a person, nothing is clamped."""

    def __init__(self, message: str, bound: str) -> None:
        super().__init__(message)
        self.bound = bound


class StatementIsNegative(OutOfBounds):
    """The corrections exceed the period's lines: the account waits for a person, nothing is clamped."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "negative")


class AccountParked(BillingError):
    """The account broke a bound and waits for a person: `radmeter statement release` lets it go on."""


class AccountNotParked(BillingError):
    """Only a parked account is released, by a person who says why."""


class EntryNotAllowed(BillingError):
    """A journal entry does not balance or does not have the shape of its template."""


class PdfNotRendered(BillingError):
    """The process that renders the PDF failed or took too long."""


class LanguageUnknown(BillingError, ValueError):
    """A statement is written in English (en) or Chinese (zh)."""

    def __init__(self, language: str) -> None:
        super().__init__(f"no statement in language {language[:20]!r}")
