"""The commercial models, each a folder that a person can read: contract, usage, and what comes of it to the fen.

`tests/golden/scenarios/<P-number>-<word>/`: every `contract*.yaml` (a name again: its next version), `usage.csv`
(with `received_at` where billing hears late), `contributions.csv` where a pool has weights, and what was reviewed:
`statements.txt`, `journal.txt` and what else `OUTPUTS` makes. Look at the difference, then
RADMETER_UPDATE_GOLDEN=1 pytest tests/billing/test_scenarios.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from billing import queries
from billing.books import ledger
from billing.cash import payments
from billing.contracts import simulate
from billing.contracts.simulate import Simulation
from billing.metering.usage import plain
from billing.money import Money
from billing.rating import sites
from billing.splits import payout_paper, payout_statement
from billing.statements import statement_document
from billing.statements.statement_context import context_of

SCENARIOS = Path(__file__).resolve().parents[1] / "golden/scenarios"
Output = Callable[[psycopg.Connection[Any], Simulation], str]


def statements(conn: psycopg.Connection[Any], simulation: Simulation) -> str:
    return "\n".join(
        statement_document.render_text(one, context=context_of(conn, one)) for one in simulation.statements
    )


def journal(conn: psycopg.Connection[Any], simulation: Simulation) -> str:
    lines = []
    for entry in queries.rows(
        conn, "journal_entries", {"tenant": simulate.TENANT, "after": 0, "limit": 1000}
    ):
        lines.append(f"{entry['effective_at']:%Y-%m-%d} {entry['template']} {entry['reference']}")
        postings = zip(entry["accounts"], entry["currencies"], entry["amounts"], strict=True)
        for account, currency, amount_minor in postings:
            amount = Money(amount_minor, currency)
            lines.append(f"  {account:<50}{amount!s:>20} {currency}")
    return "\n".join(lines) + "\n"


def splits(conn: psycopg.Connection[Any], simulation: Simulation) -> str:
    """Who gets what of each line."""
    lines = []
    for one in simulation.statements:
        key = {"tenant": simulate.TENANT, "statement_id": one.statement_id}
        for row in queries.rows(conn, "split_states", key):
            amount = Money(row["amount_minor"], row["currency"])
            what = f"{one.number} {row['line_number']} {row['line_key']} {row['service_start']:%Y-%m}"
            lines.append(f"{what:<58}{row['split']:<12}{row['basis']:<10}{row['party_id']:<20}{amount!s:>14}")
    return "".join(f"{line}\n" for line in lines)


def payouts(conn: psycopg.Connection[Any], simulation: Simulation) -> str:
    """The payout statements of the last month, once every statement is paid."""
    if not payout_statement.accounts(conn, simulate.TENANT):
        return ""
    end = max(one.period.end_at for one in simulation.statements)
    for one in simulation.statements:
        if one.total:
            payment = payments.receive(
                conn, simulate.TENANT, payer_id=one.payer.id, amount=one.total, source="bank",
                external_id=one.number or "", received_at=end, by="clerk", now=end,
            )  # fmt: skip
            payments.allocate(
                conn, simulate.TENANT, payment.payment_id, one.statement_id or 0, by="clerk", now=end
            )
    month = end - timedelta(days=1)
    later = end + timedelta(days=5)
    issued = [
        payout_statement.issue(conn, account, month, by="clerk", now=later)
        for account in payout_statement.accounts(conn, simulate.TENANT)
    ]
    assert ledger.check(conn, simulate.TENANT) == []
    return "\n".join(payout_paper.render_text(one) for one in issued)


def site_statements(conn: psycopg.Connection[Any], simulation: Simulation) -> str:
    """Each site's part of each statement, line by line."""
    text = []
    for statement in simulation.statements:
        assert statement.statement_id is not None
        for one in sites.of_statement(conn, simulate.TENANT, statement.statement_id):
            text.append(
                f"{statement.number}, {one.name or '(no site)'}: {one.amount} + {one.tax} = {one.total}"
            )
            for line in one.lines:
                what = f"{line.title['en']}, {line.kind} {line.service_start} {line.department}".strip()
                text.append(f"  {line.number}. {what:<62}{plain(line.quantity):>10}{line.amount!s:>12}")
    return "\n".join(text) + "\n" if text else ""


# A file of this name is compared where a scenario has it; "" from an output means that there is nothing to say.
OUTPUTS: dict[str, Output] = {
    "statements.txt": statements,
    "journal.txt": journal,
    "splits.txt": splits,
    "payouts.txt": payouts,
    "sites.txt": site_statements,
}


@pytest.mark.parametrize("folder", sorted(SCENARIOS.iterdir()), ids=lambda folder: folder.name)
def test_a_commercial_model_comes_to_what_was_reviewed(folder: Path, migrated_url: str) -> None:
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("contract*.yaml"))]
    received = simulate.read_usage((folder / "usage.csv").read_text(encoding="utf-8"))
    shares = folder / "contributions.csv"
    weights = shares.read_text(encoding="utf-8") if shares.exists() else ""
    with (
        psycopg.connect(migrated_url) as conn,
        simulate.simulated(conn, texts, received, contributions=weights) as simulation,
    ):
        assert simulation.statements, "a scenario issues something"
        assert ledger.check(conn, simulate.TENANT) == []
        for name, output in OUTPUTS.items():
            text, golden = output(conn, simulation), folder / name
            if os.environ.get("RADMETER_UPDATE_GOLDEN") and text.strip():
                golden.write_text(text, encoding="utf-8")
            assert text.strip() == (golden.read_text(encoding="utf-8") if golden.exists() else "").strip()


def test_a_simulation_leaves_nothing_behind(migrated_url: str) -> None:
    folder = sorted(SCENARIOS.iterdir())[0]
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("contract*.yaml"))]
    received = simulate.read_usage((folder / "usage.csv").read_text(encoding="utf-8"))
    with psycopg.connect(migrated_url) as conn:
        with simulate.simulated(conn, texts, received):
            pass
        for table in ("usage_event", "contract", "statement", "journal_entry"):
            found = conn.execute(f"SELECT count(*) FROM billing.{table}").fetchone()
            assert found == (0,), table
