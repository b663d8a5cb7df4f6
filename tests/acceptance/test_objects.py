"""Gateway, worker and portal on nodes of their own, that have nothing in common but a database and an object store."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest

from server.installation import prepare
from server.settings import Settings
from tests.acceptance.conftest import MadeStudy, MakeStudy
from tests.conftest import fresh_database
from tests.dicom_peers import wait_until
from tests.ports import free_port
from tests.s3_server import REGION, Bucket
from tests.server_process import RunningServer, end, listens

PACS = "PACS"


@dataclass
class Nodes:
    """Three machines: each has its data folder, and all know the same store by the same door."""

    gateway: RunningServer
    worker: RunningServer
    portal: RunningServer
    bucket: Bucket
    health: str

    def start(self, role: str) -> None:
        node: RunningServer = getattr(self, role)
        with node.log_path.open("ab") as log:
            node.process = subprocess.Popen(
                [sys.executable, "-m", "server", "serve", "--role", role],
                cwd=node.sandbox / "cwd", env=node.environment, stderr=log, start_new_session=True,
            )  # fmt: skip

    def readiness(self) -> dict[str, Any]:
        """What the gateway says of itself; empty while it does not."""
        try:
            answer = httpx.get(f"{self.health}/readyz", timeout=30, verify=False)
        except httpx.HTTPError:
            return {}
        return {"status": answer.status_code, **answer.json()["checks"]}


@pytest.fixture
def nodes(postgres_url: str, bucket: Bucket) -> Iterator[Nodes]:
    health_port = free_port()
    with fresh_database(postgres_url) as url:
        options = {
            "DATABASE_URL": url, "OBJECTS": f"s3://{bucket.name}/region", "OBJECTS_ENDPOINT": bucket.door.url,
            "OBJECTS_REGION": REGION, "OBJECTS_CACHE_MIB": "64", "HEALTH_PORT": str(health_port),
        }  # fmt: skip
        gateway = RunningServer.new(**options)
        others = [RunningServer.new(**{**options, "HEALTH_PORT": "0"}) for _ in range(2)]
        made = Nodes(gateway, *others, bucket, f"http://127.0.0.1:{health_port}")
        password = prepare(Settings(data_directory=made.portal.data, database_url=url))
        made.portal.output_path.write_text(f"password: {password}")
        for role in ("gateway", "worker", "portal"):
            made.start(role)
        made.portal.wait(lambda: made.portal.readiness() == 200, 90, "the portal is ready")
        made.gateway.wait(lambda: made.readiness().get("status") == 200, 90, "the gateway is ready")
        yield made
        for node in (made.gateway, made.worker, made.portal):
            node.remove()


def send(study: MadeStudy, gateway: RunningServer) -> int:
    command = ["storescu", "-aet", PACS, "-aec", "RADMETER", "+sd", "127.0.0.1", str(gateway.dicom_port)]
    done = subprocess.run([*command, str(study.folder)], capture_output=True, timeout=120, check=False)
    return done.returncode


def instances(node: RunningServer) -> int:
    return int(node.rows("SELECT count(*) AS count FROM instance")[0]["count"])


@pytest.mark.soak
@pytest.mark.peer
def test_a_study_passes_three_nodes_and_waits_while_the_store_is_away(
    nodes: Nodes, make_study: MakeStudy, tmp_path: Path
) -> None:
    received = tmp_path / "pacs"
    received.mkdir()
    port = free_port()
    pacs = subprocess.Popen(["storescp", "--accept-all", "-aet", PACS, "-od", str(received), str(port)])
    try:
        wait_until(lambda: listens(port), 20)
        nodes.gateway.add_peer(PACS, port, quiet_time_s=3.0)
        study = make_study("objects")

        nodes.bucket.door.set("refuse")
        assert send(study, nodes.gateway) != 0, "nobody is told that it was stored"
        assert instances(nodes.gateway) == 0
        nodes.gateway.wait(lambda: nodes.readiness().get("status") == 503, 40, "the gateway is not ready")
        assert "The object store does not answer" in nodes.readiness()["object_store"]
        assert nodes.portal.readiness() == 503

        nodes.bucket.door.set(None)
        nodes.gateway.wait(lambda: nodes.readiness().get("status") == 200, 40, "the gateway has recovered")
        assert send(study, nodes.gateway) == 0
        assert instances(nodes.gateway) == len(study.files)
        stored = nodes.bucket.server.keys(nodes.bucket.name, "region/instances/")
        assert len(stored) == len(study.files)

        nodes.bucket.door.set("refuse")  # before the study has fallen silent
        waits = "SELECT count(*) AS count FROM procrastinate_jobs WHERE attempts > 0 OR scheduled_at > now()"
        nodes.worker.wait(lambda: nodes.worker.rows(waits)[0]["count"] > 0, 60, "the worker waits")
        assert nodes.worker.study(study.study_instance_uid)["status"] in ("receiving", "assembled")
        nodes.bucket.door.set(None)
        row = nodes.worker.wait_for_end(study.study_instance_uid, 240)
        assert (row["status"], row["reason_code"]) == ("delivered", None), nodes.worker.log_tail()

        kinds = sorted(str(pydicom.dcmread(path).Modality) for path in received.iterdir())
        assert kinds in (["DOC", "SEG", "SR"], ["DOC", "SR"])
        assert nodes.bucket.server.keys(nodes.bucket.name, "region/work/") == []
        _portal_shows_it(nodes, str(row["id"]), study)
        _books_and_store_agree(nodes)
    finally:
        end(pacs)


def _portal_shows_it(nodes: Nodes, study_id: str, study: MadeStudy) -> None:
    """The report and the images, on a node that had neither."""
    assert not list((nodes.portal.data / "instances").rglob("*.dcm"))
    with nodes.portal.signed_in() as client:
        assert "not reviewed" in client.get(f"/studies/{study_id}").text
        pdf = client.get(f"/studies/{study_id}/report.pdf")
        assert pdf.content.startswith(b"%PDF")
        first = pydicom.dcmread(study.files[0])
        address = (
            f"/dicom-web/studies/{first.StudyInstanceUID}/series/{first.SeriesInstanceUID}"
            f"/instances/{first.SOPInstanceUID}"
        )
        frame = client.get(
            f"{address}/frames/1", headers={"Accept": "application/octet-stream; transfer-syntax=*"}
        )
        assert frame.content == first.PixelData
        metadata = client.get(f"/dicom-web/studies/{first.StudyInstanceUID}/metadata")
        assert len(metadata.json()) >= len(study.files)


def _books_and_store_agree(nodes: Nodes) -> None:
    check = nodes.worker.command("objects", "check")
    assert check.returncode == 0, check.stdout + check.stderr
    (lost, *_) = nodes.bucket.server.keys(nodes.bucket.name, "region/instances/")
    nodes.bucket.server.client().delete_object(Bucket=nodes.bucket.name, Key=lost)
    check = nodes.worker.command("objects", "check")
    assert check.returncode == 1
    assert lost.removeprefix("region/") in check.stdout
