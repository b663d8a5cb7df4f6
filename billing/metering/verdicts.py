"""Verdicts: who may say what became of a result that is paid by its outcome."""

from __future__ import annotations

from typing import Any

import psycopg

from billing.contracts import contract as contracts
from billing.contracts.contract import Contract
from billing.metering.claim import find_version
from billing.metering.usage import UsageEvent, Verdict
from billing.queries import Row, first_row, one_row
from billing.rating.case_errors import (
    AdjudicatorIsPayee,
    AdjudicatorUnknown,
    OutcomeWithoutCase,
    WindowNotOver,
)
from billing.splits.terms import PayeeKind

Connection = psycopg.Connection[Any]
PAID_ROLES = frozenset({"vendor", "developer", "contributor", "annotator", "platform"})


def require_allowed(conn: Connection, outcome: UsageEvent) -> None:
    """Refuse an outcome that names no case, that a payee gives, or that says `none` before the window is over.

    An outcome has the product and the case key of its delivery. evidence `adjudicator`: the id of the party that
    judged; `none` needs no one. Where the contract pays nothing by outcome, any verdict is taken: it changes no
    amount.
    """
    known = {"tenant": outcome.tenant, "source": outcome.source, "event_id": outcome.event_id}
    if first_row(conn, "usage_by_id", known) is not None:
        return  # sent again: it gets its first answer, whatever became of the case since
    key = {"tenant": outcome.tenant, "case_key": outcome.case_key, "product": outcome.product}
    case = first_row(conn, "case_of_outcome", key)
    contract = _contract(conn, outcome, case)
    if contract is None or contract.outcome is None or outcome.product not in contract.outcome.products:
        return
    if case is None:
        raise OutcomeWithoutCase(
            f"outcome {outcome.event_id!r}: its product and case key name no billable case"
        )
    if outcome.dimensions["verdict"] == Verdict.NONE:
        end = case["occurred_at"] + contract.outcome.window
        if outcome.occurred_at != end:
            raise WindowNotOver(f"the window of this case ends at {end.isoformat()}, and no verdict before")
        return
    adjudicator = str(outcome.evidence.get("adjudicator", ""))
    if not adjudicator:
        raise AdjudicatorUnknown(f"outcome {outcome.event_id!r} needs the evidence `adjudicator`")
    if adjudicator in payees(contract):
        raise AdjudicatorIsPayee(adjudicator)


def _contract(conn: Connection, outcome: UsageEvent, case: Row | None) -> Contract | None:
    """The version by which the case is priced; without a case, the one in force at the outcome."""
    if case is not None:
        version = case["contract_id"], case["contract_version"]
    else:
        found = find_version(conn, outcome.tenant, outcome)
        if found is None:
            return None
        version = found.contract_id, found.number
    values = {"tenant": outcome.tenant, "contract_id": version[0], "version": version[1]}
    return contracts.load(one_row(conn, "version_text", values)["source_text"])


def payees(contract: Contract) -> frozenset[str]:
    """Everyone who earns when a result is accepted."""
    by_role = (party.id for party in contract.parties if party.role in PAID_ROLES)
    claims = (claim for split in contract.splits for claim in split.claims)
    by_share = (claim.payee.name for claim in claims if claim.payee.kind is PayeeKind.PARTY)
    return frozenset({contract.seller.id, *by_role, *by_share})
