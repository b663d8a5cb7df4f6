"""SIGKILL at any statement of issuing, paying and crediting: the books stay sound, and saying it again completes it.

A few points of each command in the suite, every statement of them in `make soak`.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.rows import dict_row

from billing import ledger, meter
from tests.billing import payment_seeds
from tests.billing.payment_seeds import TENANT
from tests.conftest import ROOT, fresh_database

CHILD = "tests.billing.crash_child"
COMMANDS = ("issue", "pay", "credit")
Seeded = Callable[[str], str]


@pytest.fixture
def seeded(postgres_url: str, migrated_template: str, make_event) -> Iterator[Seeded]:
    """`seeded("pay")`: name of a database in which everything is ready for the command; copied for each point."""
    with ExitStack() as stack:
        url = stack.enter_context(fresh_database(postgres_url, template=migrated_template))

        def seed(command: str) -> str:
            with psycopg.connect(url, row_factory=dict_row) as conn:
                conn.execute("SELECT set_config('radmeter.tenant', %s, false)", (TENANT,))
                contract_id = payment_seeds.add_contract(conn, TENANT)
                assert contract_id == 1
                events = [make_event(number) for number in (1, 2)]
                if command == "issue":
                    for event in events:
                        assert meter.record(conn, event, received_at=event.occurred_at).is_billable
                else:
                    assert payment_seeds.issue_month(conn, TENANT, contract_id, events).statement_id == 1
            return urlsplit(url).path.strip("/")

        yield seed


def run(url: str, command: str, number: int = 0, when: str = "before") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", CHILD, url, command, str(number), when],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def finish(url: str, command: str) -> int:
    """Run the command to its end; how many statements that took."""
    done = run(url, command)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def books(url: str) -> list[Any]:
    """Everything that must be the same in the end, whatever was killed on the way, and sound."""
    with psycopg.connect(url, row_factory=dict_row) as conn:
        assert ledger.check(conn, TENANT) == []
        queries = (
            """SELECT e.sequence, e.template, p.account, p.amount_minor FROM billing.journal_entry e
            JOIN billing.posting p ON p.entry_sequence = e.sequence ORDER BY e.sequence, p.position""",
            "SELECT number, document_sha256 FROM billing.statement ORDER BY number",
            "SELECT number, total_minor FROM billing.credit_note ORDER BY number",
            "SELECT amount_minor, unapplied_minor FROM billing.payment_unapplied ORDER BY payment_id",
            "SELECT number, open_minor FROM billing.statement_open ORDER BY number",
        )
        return [conn.execute(query).fetchall() for query in queries]


def kill_and_repeat(
    postgres_url: str, template: str, command: str, number: int, when: str, expected: list[Any]
) -> None:
    with fresh_database(postgres_url, template=template) as url:
        killed = run(url, command, number, when)
        assert killed.returncode == -signal.SIGKILL, (number, when, killed.stderr)
        books(url)  # sound right after, with the command half done or not done
        finish(url, command)
        assert books(url) == expected, (number, when)


def undisturbed(postgres_url: str, template: str, command: str) -> tuple[int, list[Any]]:
    with fresh_database(postgres_url, template=template) as url:
        before = books(url)
        count = finish(url, command)
        after = books(url)
    assert after != before
    return count, after


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_killed_at_a_statement_is_completed_by_saying_it_again(
    postgres_url: str, seeded: Seeded, command: str
) -> None:
    template = seeded(command)
    count, expected = undisturbed(postgres_url, template, command)
    # In the middle of everything, and after the commit, when only the answer is lost.
    for number, when in ((count // 2, "after"), (count, "after")):
        kill_and_repeat(postgres_url, template, command, number, when, expected)


@pytest.mark.soak
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_killed_at_every_statement_is_completed_by_saying_it_again(
    postgres_url: str, seeded: Seeded, command: str
) -> None:
    template = seeded(command)
    count, expected = undisturbed(postgres_url, template, command)
    assert count >= 8
    for number in range(1, count + 1):
        kill_and_repeat(postgres_url, template, command, number, "before", expected)
    kill_and_repeat(postgres_url, template, command, count, "after", expected)
