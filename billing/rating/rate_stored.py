"""Rates periods of a stored contract from the usage that the database holds, each period once."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import psycopg

from billing.contracts import store
from billing.contracts.contract import Contract
from billing.contracts.store import StoredContract
from billing.period import Period, local_midnight
from billing.rating import aggregate
from billing.rating.rate import Rating, rate

Connection = psycopg.Connection[Any]


class Rater:
    """Usage up to one cutoff; a period is rated by the version in force in it."""

    def __init__(self, conn: Connection, tenant: str, stored: StoredContract, cutoff: int) -> None:
        self._conn = conn
        self._tenant = tenant
        self._stored = stored
        self._cutoff = cutoff
        self._ratings: dict[Period, Rating] = {}

    def rate(self, period: Period) -> Rating:
        """The period rated in full with everything known now, earlier periods of its term included."""
        if period not in self._ratings:
            contract = self.contract_of(period)
            earlier = [self.rate(one) for one in self._earlier_in_term(period)]
            totals = aggregate.usage_totals(
                self._conn, self._tenant, self._stored.contract_id, contract, period, self._cutoff
            )
            self._ratings[period] = rate(contract, period, totals, earlier)
        return self._ratings[period]

    def contract_of(self, period: Period) -> Contract:
        """The version that was in force in the period."""
        return store.contract_at(self._conn, self._tenant, self._stored.contract_id, period.start_at).contract

    def periods_to_correct(self, period: Period) -> list[Period]:
        """Billed periods before this one that late usage may have changed.

        Where a contract counts over a term, a change reaches the later periods of that term too.
        """
        key = (self._conn, self._tenant, self._stored.contract_id, period)
        late = aggregate.periods_with_late_usage(*key, self._cutoff)
        terms = {self._counted_term(one) for one in (*late, period)} - {None}
        if not terms:
            return late
        billed = aggregate.billed_periods(*key)
        return [one for one in billed if one in late or self._counted_term(one) in terms]

    def _counted_term(self, period: Period) -> tuple[date, date] | None:
        """The term that holds the period, where its version of the contract counts over terms."""
        contract = self.contract_of(period)
        if contract.term is None or not contract.counts_over_term:
            return None
        return contract.term.containing(period.starts_on)

    def _earlier_in_term(self, period: Period) -> list[Period]:
        """The periods of the term before this one, in order."""
        term = self._counted_term(period)
        if term is None:
            return []
        earlier: list[Period] = []
        end = period.start_at
        while end > local_midnight(term[0], period.time_zone):
            before = self._stored.period_of(end - timedelta(microseconds=1))
            if before is None:
                break
            earlier.insert(0, before)
            end = before.start_at
        return earlier
