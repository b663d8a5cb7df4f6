"""What a hospital may charge patients for the results of a period, by the contract's price list."""

from __future__ import annotations

from typing import Any

import psycopg

from billing.contracts.contract import Contract
from billing.contracts.store import period_values
from billing.period import Period
from billing.queries import rows
from billing.rating.price_list import Examination, PatientCharge, charges

Connection = psycopg.Connection[Any]


def of_period(
    conn: Connection, tenant: str, contract_id: int, contract: Contract, period: Period, cutoff: int
) -> tuple[PatientCharge, ...]:
    """Charges for the billable results of a period, summed by the database as far as the list tells them apart."""
    if not contract.price_list:
        return ()
    values = period_values(tenant, contract_id, period, cutoff)
    products = sorted({product for item in contract.price_list for product in item.products})
    found = rows(conn, "examinations", {**values, "products": products, "time_zone": contract.time_zone})
    examinations = (
        Examination(row["product"], row["region"] or "", row["day"], row["item_code"] or "", row["cases"])
        for row in found
    )
    return charges(contract.price_list, examinations, contract.currency)
