"""The embedded database starts again on whatever its last server has left behind."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from server.embedded_postgres import EmbeddedPostgres
from server.settings import Settings
from tests.server_process import radmeter


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a database that was killed while it ran."""
    data = tmp_path_factory.mktemp("data")
    EmbeddedPostgres(Settings(data_directory=data))
    postmaster = psutil.Process(int((data / "postgres/postmaster.pid").read_text().splitlines()[0]))
    backends = postmaster.children()
    postmaster.kill()
    psutil.wait_procs(backends, 20)
    return data


@pytest.mark.parametrize(
    "content",
    ["", "4711\n", "{own_pid}\n/x\n1\n5432\n/x\n\n 1 2\nready\n"],
    ids=["empty", "cut", "of a process id that is another program's now"],
)
def test_a_lock_file_that_nobody_holds_does_not_refuse_the_next_start(killed: Path, content: str) -> None:
    """Killed while it started, PostgreSQL leaves it in pieces; in a container, a process id is soon used again."""
    lock = killed / "postgres/postmaster.pid"
    lock.write_text(content.format(own_pid=os.getpid()))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RADMETER_")}
    done = radmeter(["migrate"], environment | {"RADMETER_DATA": str(killed)})
    assert done.returncode == 0, done.stderr
    assert "migrations applied" in done.stdout
    assert not lock.exists(), "the command has not stopped what it started"
