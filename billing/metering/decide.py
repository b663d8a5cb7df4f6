"""Whether a usage event may be charged, by policy `delivered-1`; pure rules, no database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from billing.metering.usage import Kind, Purpose, UsageEvent

POLICY = "delivered-1"
CLOCK_AHEAD_MAX = timedelta(hours=1)
"""How far a source's clock may run ahead of ours before its event waits for a person."""


class Outcome(StrEnum):
    BILLABLE = "billable"
    NOT_BILLABLE = "not_billable"
    QUARANTINED = "quarantined"


class Reason(StrEnum):
    """Why an event is charged or not; `billing.explain` has the sentence in each language."""

    FIRST_DELIVERY = "first_delivery"
    ALREADY_CHARGED = "already_charged"
    SEEN_AGAIN = "seen_again"
    REFUSED = "refused"
    FAILED = "failed"
    NO_CONTRACT = "no_contract"
    TEST_PEER = "test_peer"
    SHADOW = "shadow"
    CLOCK_AHEAD = "clock_ahead"
    DISMISSED = "dismissed"
    PREPAID = "prepaid"
    USED = "used"
    OUTCOME = "outcome"
    VOID = "void"
    VOIDED = "voided"
    IN_PLACE = "in_place"


class Decision(NamedTuple):
    """What was decided about one usage event.

    contract_id: the contract whose price or policy applied; None where no contract covers the product then.
    """

    outcome: Outcome
    reason_code: Reason
    explanation: str
    case_key: str
    contract_id: int | None

    @property
    def is_billable(self) -> bool:
        return self.outcome is Outcome.BILLABLE


_BY_KIND: Mapping[str, Reason] = {
    Kind.SEEN_AGAIN: Reason.SEEN_AGAIN,
    Kind.REFUSED: Reason.REFUSED,
    Kind.FAILED: Reason.FAILED,
    Kind.OUTCOME: Reason.OUTCOME,
    Kind.VOID: Reason.VOID,
}
_BY_PURPOSE: Mapping[str, Reason] = {Purpose.TEST_PEER: Reason.TEST_PEER, Purpose.SHADOW: Reason.SHADOW}


def decide(
    event: UsageEvent, received_at: datetime, *, has_contract: bool, is_clock_checked: bool = True
) -> tuple[Outcome, Reason]:
    """The outcome before the case key is claimed: `billable` here means "if nobody was first"."""
    if is_clock_checked and event.occurred_at - received_at > CLOCK_AHEAD_MAX:
        return Outcome.QUARANTINED, Reason.CLOCK_AHEAD
    reason = _BY_KIND.get(event.kind) or _BY_PURPOSE.get(event.purpose)
    if reason is None and has_contract:
        return Outcome.BILLABLE, Reason.USED if event.kind == Kind.USAGE else Reason.FIRST_DELIVERY
    return Outcome.NOT_BILLABLE, reason or Reason.NO_CONTRACT
