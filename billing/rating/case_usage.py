"""Usage of contracts whose prices depend on more than the event itself: on its request, and on its verdict.

Contracts without `case_rules` and `outcome` never come here: the database sums their usage as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from fractions import Fraction
from typing import Any

import psycopg

from billing.contracts.contract import Contract
from billing.contracts.outcome_terms import OutcomeTerms
from billing.queries import Row, rows
from billing.rating.case_rules import Case, treat
from billing.rating.treatment import FULL_PRICE, Treatment

Connection = psycopg.Connection[Any]


def treatments(conn: Connection, contract: Contract, values: Mapping[str, object]) -> dict[int, Treatment]:
    """By ingest sequence, every billable event that does not simply cost its price.

    values: contract, period and cutoff, see `store.period_values`.
    """
    if not contract.case_rules and contract.outcome is None:
        return {}
    window = contract.outcome.window if contract.outcome else timedelta(0)
    asked = {**values, "window": window, "has_outcome": contract.outcome is not None}
    found = rows(conn, "cases_of_period", asked)
    by_rule = treat([_case(row) for row in found], contract.case_rules)
    settled = (
        (row["ingest_sequence"], _by_verdict(treatment, contract.outcome, row))
        for row, treatment in zip(found, by_rule, strict=True)
    )
    return {sequence: treatment for sequence, treatment in settled if treatment != FULL_PRICE}


def _case(row: Row) -> Case:
    return Case(
        row["source"],
        row["event_id"],
        row["product"],
        row["quantity"],
        row["occurred_at"],
        row["request"] or "",
    )


def _by_verdict(treatment: Treatment, terms: OutcomeTerms | None, row: Row) -> Treatment:
    """What is left of the price by the verdict; a case that is free by a rule stays free by that rule."""
    if terms is None or row["product"] not in terms.products or treatment.fraction == 0:
        return treatment
    fraction = terms.fraction(row["verdict"])
    if fraction == 1:
        return treatment
    verdict = row["verdict"] or "awaited"
    return Treatment(f"verdict_{verdict}", f"verdict-{verdict}", _whole_or_part(treatment, fraction))


def _whole_or_part(treatment: Treatment, fraction: Fraction) -> Fraction:
    assert fraction == 0 or treatment == FULL_PRICE, "the contract's check keeps discounts and parts apart"
    return fraction
