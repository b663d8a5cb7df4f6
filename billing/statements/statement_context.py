"""What is known beside an issued statement when it is shown: credit notes, what is open and disputed, liability."""

from __future__ import annotations

from typing import Any

import psycopg

from billing.cash.payments import open_amount
from billing.claims import credit_notes
from billing.claims.disputes import disputed_amount
from billing.contracts import store
from billing.statements.statement_paper import StatementContext
from billing.statements.statement_record import Statement

Connection = psycopg.Connection[Any]


def context_of(conn: Connection, statement: Statement) -> StatementContext:
    """As things stand now; of a draft only what its contract says."""
    tenant = statement.tenant
    stored = store.contract_at(conn, tenant, statement.contract_id, statement.period.start_at)
    named = {share.party: stored.contract.party(share.party) for share in stored.contract.liability}
    liability = tuple(
        (party.name if (party := named[share.party]) else share.party, share.share)
        for share in stored.contract.liability
    )
    if statement.statement_id is None:
        return StatementContext(liability=liability)
    return StatementContext(
        credit_notes=credit_notes.of_statement(conn, tenant, statement.statement_id),
        open_amount=open_amount(conn, tenant, statement.statement_id),
        disputed=disputed_amount(conn, tenant, statement.statement_id),
        liability=liability,
    )
