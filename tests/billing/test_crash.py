"""SIGKILL at any statement of issuing, paying, crediting, paying out: books stay sound, saying it again completes it.

A few points of each command in the suite, every statement of them in `make soak`.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.rows import dict_row

from billing.books import ledger
from billing.contracts import store
from billing.metering import meter
from billing.splits import payout_statement
from billing.splits.payout_statement import Account
from tests.billing import payment_seeds
from tests.billing.payment_seeds import TENANT
from tests.conftest import ROOT, fresh_database

CHILD = "tests.billing.crash_child"
SPLITS = """
parties: [{id: dev-a, name: Developer A, role: developer}]
splits:
  - split: app
    basis: billed
    parties:
      - {party: dev-a, share: 0.70}
      - {party: radmeter-imaging, residual: true}
"""
COMMANDS = ("issue", "pay", "credit", "payout")
Seeded = Callable[[str], str]


@pytest.fixture
def seeded(postgres_url: str, migrated_template: str, make_event) -> Iterator[Seeded]:
    """`seeded("pay")`: name of a database in which everything is ready for the command; copied for each point."""
    with ExitStack() as stack:
        url = stack.enter_context(fresh_database(postgres_url, template=migrated_template))

        def seed(command: str) -> str:
            with psycopg.connect(url, row_factory=dict_row) as conn:
                conn.execute("SELECT set_config('radmeter.tenant', %s, false)", (TENANT,))
                text = (ROOT / "examples/contract_per_case.yaml").read_text()
                assert store.add_contract(conn, TENANT, text + SPLITS) == 1
                events = [make_event(number) for number in (1, 2)]
                if command == "issue":
                    for event in events:
                        assert meter.record(conn, event, received_at=event.occurred_at).is_billable
                else:
                    assert payment_seeds.issue_month(conn, TENANT, 1, events).statement_id == 1
                if command == "payout":
                    payment_seeds.add_address(conn, TENANT, "dev-a")
                    developer = Account(TENANT, "radmeter-imaging", "dev-a", "CNY")
                    payout_statement.issue(
                        conn, developer, payment_seeds.NOVEMBER, by="lin", now=payment_seeds.NOW
                    )
            return urlsplit(url).path.strip("/")

        yield seed


@dataclass(frozen=True)
class Copy:
    """A copy of the seeded books, and the file in which the rail remembers what it paid."""

    url: str
    calls: Path


@pytest.fixture
def copied(postgres_url: str, tmp_path: Path) -> Callable[[str], AbstractContextManager[Copy]]:
    numbers = count()

    @contextmanager
    def copy(template: str) -> Iterator[Copy]:
        with fresh_database(postgres_url, template=template) as url:
            yield Copy(url, tmp_path / f"calls-{next(numbers)}")

    return copy


def run(copy: Copy, command: str, number: int = 0, when: str = "before") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", CHILD, copy.url, command, str(number), when, str(copy.calls)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def finish(copy: Copy, command: str) -> int:
    """Run the command to its end; how many statements that took."""
    done = run(copy, command)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def books(copy: Copy) -> list[Any]:
    """Everything that must be the same in the end, whatever was killed on the way, and sound."""
    queries = (
        """SELECT e.sequence, e.template, p.account, p.amount_minor FROM billing.journal_entry e
        JOIN billing.posting p ON p.entry_sequence = e.sequence ORDER BY e.sequence, p.position""",
        "SELECT number, document_sha256 FROM billing.statement ORDER BY number",
        "SELECT number, total_minor FROM billing.credit_note ORDER BY number",
        "SELECT amount_minor, unapplied_minor FROM billing.payment_unapplied ORDER BY payment_id",
        "SELECT number, open_minor FROM billing.statement_open ORDER BY number",
        "SELECT state FROM billing.payout ORDER BY payout_id",
    )
    with psycopg.connect(copy.url, row_factory=dict_row) as conn:
        assert ledger.check(conn, TENANT) == []
        found: list[Any] = [conn.execute(query).fetchall() for query in queries]
    calls = copy.calls.read_text().split() if copy.calls.exists() else []
    assert len(calls) == len(set(calls)), "the rail was called twice for one thing"
    return [*found, len(calls)]  # a number that was rolled back leaves a gap in the rail's keys


def kill_and_repeat(copy: Copy, command: str, number: int, when: str, expected: list[Any]) -> None:
    killed = run(copy, command, number, when)
    assert killed.returncode == -signal.SIGKILL, (number, when, killed.stderr)
    books(copy)  # sound right after, with the command half done or not done
    finish(copy, command)
    assert books(copy) == expected, (number, when)


@pytest.mark.parametrize(
    ("command", "points"),
    [pytest.param(command, points, marks=[pytest.mark.soak] if points == "every" else [])
     for command in COMMANDS for points in ("some", "every")],
)  # fmt: skip
def test_a_command_killed_at_a_statement_is_completed_by_saying_it_again(
    seeded: Seeded, copied: Callable[[str], AbstractContextManager[Copy]], command: str, points: str
) -> None:
    template = seeded(command)
    with copied(template) as copy:
        before = books(copy)
        last = finish(copy, command)
        expected = books(copy)
    assert expected != before
    assert last >= 8
    # In the middle of everything, and after the last commit, when only the answer is lost.
    where = [(last // 2, "after"), (last, "after")]
    if points == "every":
        where = [*((number, "before") for number in range(1, last + 1)), (last, "after")]
    for number, when in where:
        with copied(template) as copy:
            kill_and_repeat(copy, command, number, when, expected)
