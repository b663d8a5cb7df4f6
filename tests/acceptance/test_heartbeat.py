"""The heartbeat in a running server: the whole path with a known answer, never charged, and the names of its faults."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from billing.contracts import store as billing_store
from models.registry import get_model
from pipeline import heartbeat
from pipeline.database import Database
from pipeline.heartbeat_sweep import sweep
from server import places
from server.heartbeat import look_after, run_once
from server.installation import owner_connection
from server.settings import Settings
from tests.conftest import ROOT
from tests.onnx_builder import FLOAT, INT16, Graph, node, whole_numbers
from tests.ports import free_port
from tests.server_process import RunningServer
from tests.tls_files import Authority

CONTRACT = ROOT / "examples/contract_per_case.yaml"
EVENTS = """SELECT e.event_id, d.outcome, d.reason_code FROM billing.usage_event e
            JOIN billing.event_decision d USING (tenant, ingest_sequence) WHERE e.tenant = %s
            ORDER BY ingest_sequence"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Its worker sends by TLS, and must prove itself as any peer there."""
    authority = Authority(tmp_path_factory.mktemp("tls"))
    ours, workers = authority.sign("127.0.0.1"), authority.sign("worker.test")
    port = free_port()
    running = RunningServer.new(
        HEARTBEAT_MINUTES="30", HEARTBEAT_TO=f"tls://127.0.0.1:{port}", DICOM_TLS_PORT=str(port),
        DICOM_TLS_CERTIFICATE=str(ours.certificate), DICOM_TLS_KEY=str(ours.key),
        DICOM_TLS_AUTHORITIES=str(authority.path), DICOM_TLS_CLIENT_CERTIFICATE="required",
    )  # fmt: skip
    secrets = running.data / "secrets"
    secrets.mkdir(mode=0o700)
    (secrets / "heartbeat-authority.pem").write_bytes(authority.path.read_bytes())
    (secrets / "heartbeat-certificate.pem").write_bytes(
        workers.certificate.read_bytes() + workers.key.read_bytes()
    )
    try:
        yield running.start()
    finally:
        running.remove()


@dataclass(frozen=True)
class Here:
    """What a worker has: its database and its settings."""

    database: Database
    settings: Settings


@pytest.fixture(scope="module")
def here(server: RunningServer) -> Iterator[Here]:
    settings = Settings(
        data_directory=server.data, database_url=server.database_url, dicom_port=server.dicom_port,
        heartbeat_minutes=30,
    )  # fmt: skip
    database = places.database(settings, pool_size_max=2)
    yield Here(database, settings)
    database.close()


def rows(server: RunningServer, query: str, *values: Any) -> list[dict[str, Any]]:
    with owner_connection(server.database_url, heartbeat.TENANT) as conn:
        return conn.execute(query, values).fetchall()


def test_a_worker_sends_one_by_itself_and_it_is_well_and_not_charged(
    server: RunningServer, here: Here
) -> None:
    server.wait(
        lambda: [row["status"] for row in rows(server, "SELECT status FROM study")][:1] == ["delivered"],
        180,
        "a worker has sent a study that was delivered",
    )
    look_after(here.database, here.settings)  # what a worker does each minute
    (first, *_) = rows(server, "SELECT * FROM heartbeat ORDER BY id")
    assert (first["stage"], first["problem"]) == (None, None)
    assert 0 < first["seconds"] < 180
    decisions = {(one["outcome"], one["reason_code"]) for one in rows(server, EVENTS, heartbeat.TENANT)}
    assert decisions == {("not_billable", "test_peer")}
    assert server.command("heartbeat", "status").returncode == 0


def test_it_is_in_nobodys_work_list_statistics_or_books(server: RunningServer) -> None:
    with server.signed_in() as client:
        assert "Heartbeat" not in client.get("/").text
        metrics = client.get("/metrics").text
    assert 'radmeter_studies{status="delivered"} 0.0' in metrics
    assert float(re.search(r"^radmeter_heartbeat_seconds ([0-9.]+)$", metrics, re.M)[1]) > 0  # type: ignore[index]
    assert re.search(r"^radmeter_heartbeat_last_success_timestamp_seconds 1\.[0-9]+e\+09$", metrics, re.M)
    assert server.rows("SELECT * FROM billing.usage_event WHERE tenant = 'default'") == []
    with (
        owner_connection(server.database_url, heartbeat.TENANT) as conn,
        pytest.raises(psycopg.Error, match="made up and never billed"),
    ):
        billing_store.add_contract(conn, heartbeat.TENANT, CONTRACT.read_text("utf-8"))


def test_a_gateway_that_is_away_is_a_failure_to_send(server: RunningServer, here: Here) -> None:
    away = replace(here.settings, heartbeat_to=f"127.0.0.1:{free_port()}")
    ending = run_once(here.database, away)
    assert ending is not None
    assert ending.stage == "send"
    assert ending.problem == f"28 of 28 instances not taken by {away.heartbeat_to}: no connection to the peer"
    with server.signed_in() as client:
        assert 'radmeter_heartbeat_failures_total{stage="send"} 1.0' in client.get("/metrics").text


@pytest.mark.soak
def test_other_weights_are_a_wrong_answer_and_changed_ones_a_model_that_does_not_run(
    server: RunningServer, tmp_path: Path
) -> None:
    well = server.command("heartbeat", "run")
    assert well.returncode == 0, well.stderr + server.log_tail()
    assert re.search(
        r"well: the right answer was delivered in [0-9.]+ s, and nothing was charged", well.stdout
    )
    package = _other_weights(tmp_path / "other")
    added = server.command("models", "add", package)
    assert added.returncode == 0, added.stderr
    activated = server.command("models", "activate", "lung_nodule_ct", "9.9.9", "--tenant", heartbeat.TENANT)
    assert activated.returncode == 0, activated.stderr
    wrong = server.command("heartbeat", "run")
    assert wrong.returncode == 1
    assert "failed at answer" in wrong.stderr
    assert "the known nodule was not found, among 0 findings" in wrong.stderr
    # One byte of the file on disk, after it was installed.
    weights = next((server.data / "models").rglob("model.onnx"))
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    server.child("worker").terminate()  # the worker that starts anew reads the file
    server.wait(lambda: server.readiness() == 200, 30, "the worker is back")
    broken = server.command("heartbeat", "run", timeout_s=330)
    assert broken.returncode == 1
    assert "failed at infer" in broken.stderr or "failed at route" in broken.stderr, broken.stderr
    assert rows(server, EVENTS, heartbeat.TENANT)[-1]["outcome"] == "not_billable"
    assert (
        server.command(
            "models", "activate", "lung_nodule_ct", "default", "--tenant", heartbeat.TENANT
        ).returncode
        == 0
    )
    assert server.command("heartbeat", "run").returncode == 0


def _other_weights(folder: Path) -> Path:
    """The model of this software with a graph that takes and gives the same arrays, and finds nothing."""
    manifest = get_model("lung_nodule_ct").manifest
    folder.mkdir()
    for name in ("MODEL_CARD.md", "evaluation.json"):
        shutil.copy(manifest.folder / name, folder / name)
    shapes = {"scores": (1, 256), "centers": (1, 256, 3), "diameters": (1, 256)}
    graph = Graph(
        inputs=[("hounsfield", INT16, (1, "d", "h", "w"))],
        outputs=[(name, FLOAT, shape) for name, shape in shapes.items()],
        nodes=[node("ConstantOfShape", [f"shape of {name}"], [name]) for name in shapes],
        initializers=[whole_numbers(f"shape of {name}", shape) for name, shape in shapes.items()],
    ).to_bytes()
    (folder / "model.onnx").write_bytes(graph)
    text = (manifest.folder / "manifest.toml").read_text()
    text = re.sub(r"(?m)^version = .*$", 'version = "9.9.9"', text)
    digest = hashlib.sha256(graph).hexdigest()
    (folder / "manifest.toml").write_text(
        re.sub(r"(?m)^weights_sha256 = .*$", f'weights_sha256 = "{digest}"', text)
    )
    return folder


def test_old_ones_are_removed_with_every_file_and_two_at_once_are_one(
    server: RunningServer, here: Here
) -> None:
    folders = places.folders(here.settings)
    assert len(rows(server, "SELECT 1 FROM instance")) == len(list(folders.instances.rglob("*.dcm"))) == 28
    assert sweep(here.database, folders, keep=1) == 0
    assert sweep(here.database, folders, keep=0) == 1
    assert rows(server, "SELECT 1 FROM study") == []
    assert list(folders.instances.rglob("*.dcm")) == []
    assert [path for folder in (folders.results, folders.work) for path in folder.iterdir()] == []
    with here.database.transaction(heartbeat.TENANT) as conn:
        assert heartbeat.begin(conn, "2.25.1", every=timedelta(0)) is not None
    with here.database.transaction(heartbeat.TENANT) as conn:
        assert heartbeat.begin(conn, "2.25.2", every=timedelta(0)) is None
        conn.execute(
            "UPDATE heartbeat SET started_at = started_at - interval '6 minutes' WHERE ended_at IS NULL"
        )
        beat = heartbeat.under_way(conn)
        assert beat is not None
        late = heartbeat.judge(conn, beat, heartbeat.Expected((0, 0, 0), 1))
        assert late is not None
        assert late.stage == "receive"
        assert late.problem == "no end within 5 minutes: the gateway took it, and no study came of it"
        assert heartbeat.end(conn, beat, late)
        assert not heartbeat.end(conn, beat, late)


def test_no_tenant_of_patients_gets_a_destination_that_keeps_nothing(server: RunningServer) -> None:
    with owner_connection(server.database_url) as conn, pytest.raises(psycopg.Error, match="must not vanish"):
        conn.execute("INSERT INTO destination (tenant, name, kind) VALUES ('default', 'hole', 'sink')")


def test_removed_it_leaves_no_study_and_lets_nothing_in(server: RunningServer) -> None:
    removed = server.command("heartbeat", "remove")
    assert removed.returncode == 0, removed.stderr
    assert rows(server, "SELECT id FROM study WHERE tenant = 'heartbeat'") == []
    assert rows(server, "SELECT 1 FROM peer WHERE tenant = 'heartbeat'") == []
    assert "not installed" in server.command("heartbeat", "run").stderr
