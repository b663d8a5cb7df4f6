"""The commercial models, each a folder that a person can read: contract, usage, and what comes of it to the fen.

`tests/golden/scenarios/<P-number>-<word>/`: every `contract*.yaml` (a name again: its next version), `usage.csv`
(with `received_at` where billing hears late), and what was reviewed: `statements.txt`, `journal.txt` and what else
`OUTPUTS` makes. Look at the difference, then RADMETER_UPDATE_GOLDEN=1 pytest tests/billing/test_scenarios.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from billing import ledger, queries, simulate, statement_document
from billing.money import Money
from billing.simulate import Simulation

SCENARIOS = Path(__file__).resolve().parents[1] / "golden/scenarios"
Output = Callable[[psycopg.Connection[Any], Simulation], str]


def statements(conn: psycopg.Connection[Any], simulation: Simulation) -> str:
    return "\n".join(statement_document.render_text(one) for one in simulation.statements)


def journal(conn: psycopg.Connection[Any], simulation: Simulation) -> str:
    lines = []
    for entry in queries.rows(conn, "journal_entries", {"tenant": simulate.TENANT}):
        lines.append(f"{entry['effective_at']:%Y-%m-%d} {entry['template']} {entry['reference']}")
        key = {"tenant": simulate.TENANT, "sequence": entry["sequence"]}
        for row in queries.rows(conn, "postings_of_entry", key):
            amount = Money(row["amount_minor"], row["currency"])
            lines.append(f"  {row['account']:<50}{amount!s:>20} {row['currency']}")
    return "\n".join(lines) + "\n"


# A file of this name is compared where a scenario has it; "" from an output means that there is nothing to say.
OUTPUTS: dict[str, Output] = {"statements.txt": statements, "journal.txt": journal}


@pytest.mark.parametrize("folder", sorted(SCENARIOS.iterdir()), ids=lambda folder: folder.name)
def test_a_commercial_model_comes_to_what_was_reviewed(folder: Path, migrated_url: str) -> None:
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("contract*.yaml"))]
    received = simulate.read_usage((folder / "usage.csv").read_text(encoding="utf-8"))
    with psycopg.connect(migrated_url) as conn, simulate.simulated(conn, texts, received) as simulation:
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
