"""A role waits for the schema, says why, and gives up in time."""

from __future__ import annotations

import logging
import os
import time

import psycopg
import pytest

from pipeline.migrations import migrate
from pipeline.schema_state import SchemaState
from server.errors import CommandFailed
from server.schema_gate import await_schema
from tests.conftest import ROOT
from tests.server_process import radmeter

OLD, READY = SchemaState(missing=("pipeline-0001.roles",)), SchemaState()
TOO_NEW = SchemaState(unknown=("pipeline-9000.x",), too_new=("pipeline-9000.x",))


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def test_it_goes_on_when_the_schema_has_come(caplog: pytest.LogCaptureFixture) -> None:
    clock, states = Clock(), iter([psycopg.OperationalError("refused"), OLD, READY])

    def look(_url: str) -> SchemaState:
        state = next(states)
        if isinstance(state, Exception):
            raise state
        return state

    with caplog.at_level(logging.WARNING):
        await_schema("", wait_s=60, look=look, clock=clock, sleep=clock.sleep)
    assert [record.__dict__["reason"].split(":")[0] for record in caplog.records] == [
        "the database does not answer",
        "1 migrations are missing in the database, first pipeline-0001.roles",
    ]


@pytest.mark.parametrize(("state", "waited_s"), [(OLD, 60.0), (TOO_NEW, 0.0)])
def test_it_gives_up_in_time_and_at_once_where_waiting_does_not_help(
    state: SchemaState, waited_s: float
) -> None:
    clock = Clock()
    with pytest.raises(CommandFailed, match=r"run `radmeter migrate`|too new"):
        await_schema("", wait_s=60, look=lambda _url: state, clock=clock, sleep=clock.sleep)
    assert clock.now_s == waited_s


def test_init_containers_ask_and_roles_that_come_first_wait(database_url: str) -> None:
    environment = os.environ | {"RADMETER_DATABASE_URL": database_url}
    check = radmeter(["migrate", "--check"], environment, ROOT)
    assert (check.returncode, check.stdout) == (1, "")
    assert (
        "migrations are missing in the database, first billing" in check.stderr
        or "pipeline-0001" in check.stderr
    )
    migrate(database_url)
    check = radmeter(["migrate", "--check"], environment, ROOT)
    assert (check.returncode, check.stdout) == (0, "the schema is as this version needs it\n")
    absent = environment | {"RADMETER_DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}
    began = time.monotonic()
    check = radmeter(["migrate", "--check"], absent, ROOT)
    assert check.returncode == 1
    assert "the database does not answer" in check.stderr
    assert time.monotonic() - began < 20
