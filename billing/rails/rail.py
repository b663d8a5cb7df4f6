"""Rail: how money is asked for and sent; what is asked of one, and what came of it.

An operation is written as an intent and committed before any call. It then goes from `intent` to `sent` to
`confirmed`, `failed` or `unknown`; what is unknown is looked up before it is tried again. The transition
trigger of `rail_operation` refuses every other step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from billing.money import Money


class Kind(StrEnum):
    """What is asked; `subject_id` is the id of what stands behind the name."""

    COLLECT = "collect"
    """Ask the payer of a statement for its money."""
    CREDIT = "credit"
    """Tell the payer of a credit note."""
    REFUND = "refund"
    """Send money of a payment back."""
    PAY_OUT = "pay_out"
    """Send a payee its payout."""
    TAKE_BACK = "take_back"
    """Take a payout back."""


class State(StrEnum):
    """Where an operation stands."""

    INTENT = "intent"
    """Written down; no call took effect."""
    SENT = "sent"
    """A call is under way or was cut off; with an external id: the rail has it, and has not settled it yet."""
    CONFIRMED = "confirmed"
    """The rail did it."""
    FAILED = "failed"
    """The rail refused it for good, or it came back; nothing of it stands."""
    UNKNOWN = "unknown"
    """A call ended without an answer: it may have taken effect. It is looked up first."""


@dataclass(frozen=True)
class Operation:
    """request: all that a call needs, frozen with the intent. generation: from 1, up when begun anew."""

    operation_id: int
    tenant: str
    rail: str
    kind: Kind
    subject_id: int
    amount: Money
    request: Mapping[str, Any]
    state: State
    generation: int
    attempts: int
    external_id: str | None
    detail: str
    created_at: datetime
    changed_at: datetime

    @property
    def name(self) -> str:
        """Names this operation to a rail for ever, begun anew or not: what it is looked up by."""
        return f"radmeter-{self.tenant}-{self.operation_id}"

    @property
    def key(self) -> str:
        """The idempotency key; another one for each generation."""
        return f"{self.name}-{self.generation}"

    @property
    def reference(self) -> str:
        """The same for a bank: the end-to-end id of a payment order, at most 35 characters (ISO 20022 Max35Text)."""
        return f"RMO{self.operation_id}G{self.generation}"


@dataclass(frozen=True)
class Outcome:
    """What came of a call or of a look-up.

    state: `sent` = taken over and not settled yet; `intent` = refused without effect, try again later.
    retry_after_s: what the rail asked to wait, if it said so.
    """

    state: State
    external_id: str | None = None
    detail: str = ""
    retry_after_s: float | None = None


class Rail(Protocol):
    """A way that money takes. No method raises for what a rail answers: it is told in the outcome."""

    @property
    def name(self) -> str: ...

    def collect(self, operation: Operation) -> Outcome: ...

    def credit(self, operation: Operation) -> Outcome: ...

    def refund(self, operation: Operation) -> Outcome: ...

    def pay_out(self, operation: Operation) -> Outcome: ...

    def take_back(self, operation: Operation) -> Outcome: ...

    def look_up(self, operation: Operation) -> Outcome | None:
        """What the rail has of it; None where it has nothing, or not all: a call with the same key goes on."""
        ...
