"""One command of the books in a process of its own, killed at a statement: before or after the n-th one.

`python -m tests.billing.crash_child URL COMMAND N before|after CALLS`; N = 0 kills nothing and prints how many there
were. CALLS: a file that outlives the process and holds a line for each call of the rail.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from billing.cash import payments
from billing.cash.payment_errors import AllocationTooLarge
from billing.claims import credit_notes
from billing.rails.rail import Operation, Outcome, State
from billing.rails.rail_worker import Worker
from billing.splits import payout
from billing.statements import statement
from billing.statements.document_errors import CreditExceedsLine
from tests.billing.payment_seeds import NOVEMBER, NOW, PAYER, TENANT, cny


class _Point:
    """Where to die. COMMIT and a call of the rail count too; a batch of the same statement counts as one."""

    def __init__(self, number: int, when: str) -> None:
        self.number, self.when, self.count = number, when, 0

    def around(self, run: Callable[[], Any]) -> Any:
        self.count += 1
        self._die_if("before")
        result = run()
        self._die_if("after")
        return result

    def _die_if(self, when: str) -> None:
        if (self.count, self.when) == (self.number, when):
            os.kill(os.getpid(), signal.SIGKILL)


POINT = _Point(0, "before")


class _Cursor(psycopg.Cursor[Any]):
    def execute(self, *args: Any, **options: Any) -> Any:
        return POINT.around(lambda: super(_Cursor, self).execute(*args, **options))

    def executemany(self, *args: Any, **options: Any) -> Any:
        return POINT.around(lambda: super(_Cursor, self).executemany(*args, **options))


class _Connection(psycopg.Connection[Any]):
    def commit(self) -> None:
        POINT.around(super().commit)


@contextmanager
def transaction(url: str) -> Iterator[psycopg.Connection[Any]]:
    """One transaction as a worker has it; setting it up is no statement of the command."""
    with _Connection.connect(url, row_factory=dict_row) as conn:
        conn.execute("SET ROLE radmeter_app")
        conn.execute("SELECT set_config('radmeter.tenant', %s, true)", (TENANT,))
        conn.cursor_factory = _Cursor
        yield conn


def issue(url: str) -> None:
    with transaction(url) as conn:
        statement.issue(conn, TENANT, 1, NOVEMBER, now=NOW)


def pay(url: str) -> None:
    """What a bank line does: the payment is recorded, then pays the oldest statement."""
    with transaction(url) as conn:
        payment = payments.receive(
            conn, TENANT, payer_id=PAYER, amount=cny(30000), source="bank", external_id="line-1",
            received_at=NOW, by="lin", now=NOW,
        )  # fmt: skip
    with transaction(url) as conn:
        try:
            payments.allocate(conn, TENANT, payment.payment_id, 1, by="lin", now=NOW)
        except AllocationTooLarge:
            conn.rollback()  # said again after it was done: there is nothing left to pay


def credit(url: str) -> None:
    """The whole first line back."""
    with transaction(url) as conn:
        try:
            credit_notes.issue(conn, TENANT, 1, [(1, None)], reason="wrong patient", by="lin", now=NOW)
        except CreditExceedsLine:
            conn.rollback()  # said again after it was done: there is nothing left to credit


@dataclass(frozen=True)
class FileRail:
    """A rail that pays at once and remembers it: a line of the file is money that has left."""

    calls: Path
    name: str = "bank"

    def pay_out(self, operation: Operation) -> Outcome:
        POINT.around(lambda: self._write(operation.key))
        return Outcome(State.CONFIRMED, external_id=operation.key)

    collect = credit = refund = take_back = pay_out

    def look_up(self, operation: Operation) -> Outcome | None:
        known = self.calls.exists() and operation.key in self.calls.read_text().split()
        return Outcome(State.CONFIRMED, external_id=operation.key) if known else None

    def _write(self, key: str) -> None:
        with self.calls.open("a") as file:
            file.write(f"{key}\n")


def pay_out(url: str) -> None:
    """A second person lets payout 1 go, and the worker brings it to the rail and back."""
    with transaction(url) as conn:
        if payout.get(conn, TENANT, 1).state == "requested":
            payout.approve(conn, TENANT, 1, by="wang", now=NOW)
    worker = Worker(TENANT, lambda: transaction(url), {"bank": FileRail(Path(sys.argv[5]))}, lambda: NOW)
    while worker.run_once():
        pass


COMMANDS: dict[str, Callable[[str], None]] = {"issue": issue, "pay": pay, "credit": credit, "payout": pay_out}


def main() -> None:
    url, command, number, when, _ = sys.argv[1:]
    POINT.number, POINT.when = int(number), when
    COMMANDS[command](url)
    sys.stdout.write(str(POINT.count))


if __name__ == "__main__":
    main()
