"""The processes start from what the chart renders: these arguments, this environment, and these folders alone."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit, urlunsplit

import pytest

from pipeline.peers import save_peer
from server.installation import FIRST_TENANT, create_tenant, owner_connection
from server.send import parse_address, send
from tests import ct_files
from tests.conftest import fresh_database, missing
from tests.helm.pod import Pod, answer, can_isolate, radmeter
from tests.helm_chart import Object, containers, merged, of_kind, pods, rendered, values_of
from tests.ports import free_port
from tests.s3_server import REGION, S3Server, s3_server
from tests.server_process import listens
from tests.tls_files import Authority

ROLES = ("gateway", "worker", "portal", "backup")
START_S = 120.0


@pytest.fixture(scope="module")
def bucket() -> Iterator[S3Server]:
    with s3_server() as server:
        server.make_bucket("radmeter")
        yield server


@pytest.fixture(scope="module")
def objects(bucket: S3Server) -> list[Object]:
    shared = {
        "storage": {"s3": {"endpoint": bucket.url, "region": REGION}},
        "backup": {"enabled": True, "existingClaim": "backups"},
        "inference": {"engine": "triton"},
        "triton": {
            "enabled": True,
            "models": ["lung_nodule_ct", "chest_radiograph"],
            "acceleratorOptions": ["cudnn_conv1d_pad_to_nc1d=1"],
        },
    }
    return rendered(merged(values_of("hospital"), shared))


@pytest.fixture(scope="module")
def make_pod(
    objects: list[Object], postgres_url: str, tmp_path_factory: Any, disk_folder: Path
) -> Iterator[Callable[[str, str], Pod]]:
    problem = can_isolate()
    if problem:
        missing(problem, "RADMETER_REQUIRE_PEERS")
    authority = Authority(tmp_path_factory.mktemp("authority"))
    server = authority.sign("127.0.0.1", file="gateway")
    maps = of_kind(objects, "ConfigMap")
    templates = dict(pods(objects))
    with fresh_database(postgres_url) as url, reachable(url) as there:

        def make(where: str, name: str) -> Pod:
            template = templates[where]
            container = next(one for one in containers(template) if one["name"] == name)
            root = disk_folder / f"{name}-{uuid.uuid4().hex[:6]}"  # on the mount that is closed around it
            given = {}
            for source in container.get("envFrom", []):
                given |= maps[source["configMapRef"]["name"]]["data"]
            given |= {v["name"]: v.get("value", "of the Secret") for v in container["env"]}
            given |= {"RADMETER_DATABASE_URL": there} if "RADMETER_DATABASE_URL" in given else {}
            pod = Pod(root, template, container, given)
            files = pod.place("/etc/radmeter/dicom")
            files.mkdir(parents=True)
            for file, source in {
                "tls.crt": server.certificate, "tls.key": server.key, "ca.crt": authority.path,
            }.items():  # fmt: skip
                (files / file).write_bytes(source.read_bytes())
            return pod

        yield make


@contextlib.contextmanager
def reachable(url: str) -> Iterator[str]:
    """The database by a link to its socket: the folder that it lies in is closed to all but its owner."""
    parts = urlsplit(url)
    socket = Path(parse_qs(parts.query)["host"][0]) / ".s.PGSQL.5432"
    folder = Path(tempfile.mkdtemp(prefix="radmeter-pg-", dir=socket.parents[2]))
    folder.chmod(0o755)
    os.link(socket, folder / socket.name)
    yield urlunsplit((*parts[:3], f"host={folder}", ""))
    shutil.rmtree(folder)


def ended_well(pod: Pod, *arguments: str) -> str:
    done = pod.run(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_schema_is_awaited_then_made_and_every_probe_answers(
    make_pod: Callable[[str, str], Pod], bucket: S3Server, tmp_path: Path
) -> None:
    migrate = make_pod("Job/radmeter-migrate", "migrate")
    check = make_pod("Deployment/radmeter-gateway", "schema")
    early = check.run(*radmeter("migrate", "--check"))
    assert early.returncode == 1
    assert "radmeter migrate" in early.stderr
    assert "migrations applied" in ended_well(migrate, *radmeter(*migrate.container["args"]))
    ended_well(check, *radmeter(*check.container["args"]))

    running = {role: make_pod(f"Deployment/radmeter-{role}", role) for role in ROLES}
    with (
        running["gateway"].running() as gateway,
        running["worker"].running() as worker,
        running["portal"].running() as portal,
        running["backup"].running() as backup,
    ):
        processes = {"gateway": gateway, "worker": worker, "portal": portal, "backup": backup}
        for role, pod in running.items():
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                await_answer(pod, probe, processes[role])
        dicom, tls = (running["gateway"].ports[port] for port in (11112, 2762))
        assert listens(dicom)
        assert listens(tls)
        with owner_connection(migrate.environment["RADMETER_DATABASE_URL"]) as conn:
            create_tenant(conn, FIRST_TENANT, "Default", "RADMETER")
            save_peer(conn, FIRST_TENANT, ae_title="PACS", host="127.0.0.1", port=free_port())
        paths = ct_files.write(tmp_path, ct_files.ramp((2, 16, 16)))
        assert send(paths, parse_address(f"RADMETER@127.0.0.1:{dicom}", "PACS")) == 0
        assert bucket.keys("radmeter", "objects/instances/"), "what was acknowledged lies in the bucket"
        for role, process in processes.items():
            process.terminate()
            grace_s = running[role].template["spec"]["terminationGracePeriodSeconds"]
            assert process.wait(min(grace_s, 60)) in (0, -15), running[role].log()


def test_triton_finds_the_models_that_the_values_name(make_pod: Callable[[str, str], Pod]) -> None:
    export = make_pod("Deployment/radmeter-triton", "export")
    ended_well(export, *radmeter(*export.arguments))
    served = {folder.name.split("-")[0]: folder for folder in export.place("/models").iterdir()}
    assert set(served) == {"lung_nodule_ct", "chest_radiograph"}
    form = (served["lung_nodule_ct"] / "config.pbtxt").read_text()
    assert re.search(r"count: 2\b", form), form
    assert "cudnn_conv1d_pad_to_nc1d" in form
    server = make_pod("Deployment/radmeter-triton", "triton")
    assert "--model-repository=/models" in server.container["args"]
    assert {"name": "models", "mountPath": "/models", "readOnly": True} in server.container["volumeMounts"]


def test_nothing_but_the_mounts_can_be_written(make_pod: Callable[[str, str], Pod]) -> None:
    """Else the test above would prove little."""
    pod = make_pod("Deployment/radmeter-worker", "worker")
    user = pod.template["spec"]["securityContext"]["runAsUser"]
    (pod.root / "elsewhere").mkdir()
    assert ended_well(pod, "id", "-u").strip() == str(user)
    for folder in pod.writable:
        ended_well(pod, "touch", str(folder / "x"))
    for path in (pod.root / "elsewhere" / "x", Path(__file__).parent / "x", Path("/tmp/radmeter-x")):
        refused = pod.run("touch", str(path))
        assert "Read-only file system" in refused.stderr
    assert pod.run("mount", "-o", "remount,bind,rw", "/").returncode != 0, "no right is left to undo it"


def await_answer(pod: Pod, probe: str, process: Any) -> None:
    url, deadline = pod.url_of(probe), time.monotonic() + START_S
    while answer(url) != 200:
        assert process.poll() is None, pod.log()
        assert time.monotonic() < deadline, f"{url}: {answer(url)}\n{pod.log()}"
        time.sleep(0.2)
