"""The health port of gateway, worker and triton: alive, ready, measured; off unless asked for; bounded."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from pipeline.nodes import list_nodes
from server.health_port import _CONNECTIONS_MAX
from server.installation import FIRST_TENANT, owner_connection
from tests.raw_peer import RawPeer
from tests.roles_apart import RolesApart


@pytest.fixture
def apart(migrated_url: str) -> Iterator[RolesApart]:
    roles = RolesApart(migrated_url)
    yield roles
    roles.stop()


def test_gateway_and_worker_are_ready_say_why_not_and_drain(apart: RolesApart, postgres_url: str) -> None:
    apart.add_peer("CT01")
    apart.start("gateway", "worker")
    assert apart.readiness("gateway")[1] == dict.fromkeys(
        ("acceptor", "receivers", "database", "migrations", "data_folder"), "ok"
    )
    assert set(apart.readiness("worker")[1]) == {
        "worker", "database", "migrations", "queue", "data_folder", "inference",
    }  # fmt: skip
    assert apart.get("gateway", "/healthz").json() == {"status": "ok"}
    assert "radmeter_" in apart.get("worker", "/metrics").text
    assert apart.get("worker", "/").status_code == 404

    # A peer that opens connections and says nothing takes nobody's place for long.
    silent = [socket.create_connection(("127.0.0.1", apart.health_ports["worker"])) for _ in range(40)]
    assert len(silent) > _CONNECTIONS_MAX
    apart.wait(lambda: apart.readiness("worker")[0] == 200, "the worker answers beside silent peers", 15)
    for one in silent:
        one.close()

    # A message in progress keeps the gateway in its drain: it is alive, and takes no others.
    with RawPeer(apart.dicom_port) as sender:
        sender.associate()
        sender.store_request("1.2.3.4")
        apart.processes["gateway"].terminate()
        apart.wait(lambda: apart.readiness("gateway")[0] == 503, "a draining gateway is not ready", 5)
        assert "draining" in apart.readiness("gateway")[1]["acceptor"]
        assert apart.get("gateway", "/healthz").status_code == 200
    assert apart.processes.pop("gateway").wait(20) == 0

    name = urlsplit(apart.database_url).path.strip("/")
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
    apart.wait(lambda: apart.readiness("worker")[0] == 503, "without its database a worker is not ready", 20)
    assert "does not answer" in apart.readiness("worker")[1]["database"]
    assert apart.get("worker", "/healthz").status_code == 200


def test_a_role_that_is_told_to_stop_takes_leave_and_leaves_no_folder(
    apart: RolesApart, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    apart.add_peer("CT01")
    apart.start("portal", "worker")
    with owner_connection(apart.database_url, FIRST_TENANT) as conn:
        apart.wait(
            lambda: {one.role for one in list_nodes(conn)} == {"portal", "worker"}, "both are known", 15
        )
        assert list(tmp_path.glob("radmeter-metrics-*"))
        codes = [
            apart.processes[role].terminate() or apart.processes[role].wait(20)
            for role in ("portal", "worker")
        ]
        assert list_nodes(conn) == []
    assert codes == [0, 0]
    assert list(tmp_path.glob("radmeter-metrics-*")) == []


def test_the_watch_over_triton_is_not_ready_while_nobody_answers_it(apart: RolesApart) -> None:
    apart.options |= {"INFERENCE_ENGINE": "triton", "TRITON_URL": "grpc://127.0.0.1:9"}
    apart.start("triton", wait=False)
    apart.wait(lambda: apart.readiness("triton")[0] == 503, "the watch says what is wrong")
    assert apart.readiness("triton")[1]["watch"] == "ok"
    assert apart.readiness("triton")[1]["triton"] != "ok"
