"""A day with real processes that ends in a power cut, restored to an instant, and the PACS that sends it all again."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeStudy, command, send
from tests.acceptance.pacs import Pacs
from tests.conftest import ROOT
from tests.server_process import RunningServer

pytestmark = pytest.mark.soak
CONTRACT = ROOT / "examples/contract_per_case.yaml"


@pytest.fixture
def backups() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="radmeter-backups-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def pacs() -> Iterator[Pacs]:
    with Pacs.listening() as listening:
        yield listening


def lines_of_draft(server: RunningServer) -> str:
    (contract,) = server.rows("SELECT contract_id FROM billing.contract")
    drafted = command(server, "statement", "draft", str(contract["contract_id"]))
    # What was sent again is listed as not charged; the lines and the sums are the same.
    return "\n".join(line for line in drafted.splitlines() if line and not line.startswith("Not charged"))


def test_after_a_restore_the_books_become_those_of_a_day_without_one(
    start_server: Callable[..., RunningServer], make_study: MakeStudy, pacs: Pacs, backups: Path
) -> None:
    studies = {name: make_study(name) for name in ("before", "between", "after")}
    server = start_server(BACKUP=str(backups))
    server.add_peer("PACS", pacs.port)
    command(server, "contract", "add", CONTRACT)
    send(server, studies["before"])
    server.wait_for_end(studies["before"].study_instance_uid)
    command(server, "backup")
    assert command(server, "backup", "verify").endswith("files\n")

    send(server, studies["between"])
    server.wait_for_end(studies["between"].study_instance_uid)
    time.sleep(1)
    instant = datetime.now(UTC)
    time.sleep(1)
    send(server, studies["after"])
    server.wait_for_end(studies["after"].study_instance_uid)
    straight = lines_of_draft(server)
    named = server.rows(
        "SELECT 'instances/' || location AS key FROM instance UNION SELECT 'results/' || location FROM result_object"
    )

    def has_all() -> bool:
        objects = backups / "objects"
        kept = {str(path.relative_to(objects)).rpartition(".")[0] for path in objects.rglob("*")}
        return {row["key"] for row in named} <= kept

    server.wait(has_all, 130, "the role backup has met every file in its round")
    server.kill()

    again = RunningServer.new()
    try:
        done = again.command("restore", "--from", backups, "--to-time", instant.isoformat(), "--by", "Lin")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "The restore is proven." in done.stdout
        again.start()
        assert again.study(studies["between"].study_instance_uid)["status"] == "delivered"
        assert again.study(studies["after"].study_instance_uid) == {}
        for study in studies.values():
            send(again, study)
            again.wait_for_end(study.study_instance_uid)
        assert lines_of_draft(again) == straight
        assert command(again, "ledger", "check") == "the books are sound\n"
        refused = again.command("backup", "--to", backups)
        assert refused.returncode == 1
        assert "name a new folder" in refused.stderr
    finally:
        again.remove()
