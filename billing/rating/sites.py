"""Site statements: what one site, or one of its departments, is shown of a payer's statement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import groupby
from typing import Any

import psycopg

from billing.contracts import store
from billing.money import Money
from billing.queries import Row, rows
from billing.rating.case_errors import SiteNotFound
from billing.statements.statement_record import Statement

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class SiteLine:
    """A site's part of one line. department: empty where the contract tells sites apart only."""

    number: int
    department: str
    product: str
    title: Mapping[str, str]
    unit: Mapping[str, str]
    service_start: date
    service_end: date
    kind: str
    quantity: Decimal
    amount: Money
    tax: Money


@dataclass(frozen=True)
class SiteStatement:
    """One site's part of an issued statement: for information, nothing is payable on it by the site.

    site: the id in the contract, empty for usage that named none. name: as the contract prints it, else the id.
    """

    statement: Statement
    site: str
    name: str
    lines: tuple[SiteLine, ...]

    @property
    def amount(self) -> Money:
        """Tax excluded."""
        return sum((line.amount for line in self.lines), Money.zero(self.statement.currency))

    @property
    def tax(self) -> Money:
        return sum((line.tax for line in self.lines), Money.zero(self.statement.currency))

    @property
    def total(self) -> Money:
        return self.amount + self.tax


def of_statement(conn: Connection, tenant: str, statement_id: int) -> tuple[SiteStatement, ...]:
    """Every site's statement, by site; together they are the payer's. None where the contract has no sites."""
    return tuple(_read(conn, tenant, statement_id, None))


def of_site(conn: Connection, tenant: str, statement_id: int, site: str) -> SiteStatement:
    """One site's statement; raises `StatementNotFound`, `SiteNotFound`."""
    for found in _read(conn, tenant, statement_id, site):
        return found
    raise SiteNotFound(f"statement {statement_id} has no part for site {site!r}")


def _read(conn: Connection, tenant: str, statement_id: int, site: str | None) -> Iterable[SiteStatement]:
    statement = store.get_statement(conn, tenant, statement_id)
    contract = store.contract_at(conn, tenant, statement.contract_id, statement.period.start_at).contract
    values = {"tenant": tenant, "statement_id": statement_id, "site": site}
    for name, parts in groupby(rows(conn, "site_parts", values), key=lambda row: row["site"]):
        party = contract.party(name)
        lines = tuple(_line(statement, row) for row in parts)
        yield SiteStatement(statement, name, party.name if party else name, lines)


def _line(statement: Statement, row: Row) -> SiteLine:
    rated = statement.lines[row["line_number"] - 1].rated
    return SiteLine(
        number=row["line_number"],
        department=row["department"],
        product=rated.product,
        title=rated.title,
        unit=rated.unit,
        service_start=rated.service_start,
        service_end=rated.service_end,
        kind=rated.kind,
        quantity=row["quantity"],
        amount=Money(row["amount_minor"], statement.currency),
        tax=Money(row["tax_minor"], statement.currency),
    )
