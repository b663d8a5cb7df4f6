"""Gateways, workers and a portal as processes of their own, on machines of their own where the system allows, with one
PostgreSQL between them. What ends by itself is started again, as Kubernetes would."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from billing.contracts import store as billing_store
from dicom_gateway.deliver_dimse import echo
from pipeline import peers
from pipeline.migrations import migrate
from server.installation import FIRST_TENANT, create_tenant, owner_connection
from tests.acceptance.many.network import Network
from tests.acceptance.many.node import Node as Node
from tests.acceptance.many.postgres import Postgres
from tests.acceptance.pacs import Pacs
from tests.conftest import ROOT
from tests.ports import free_port
from tests.s3_server import REGION, S3Server, s3_server
from tests.server_process import radmeter

MODEL = "chest_radiograph"
CONTRACT = (ROOT / "examples/contract_per_case.yaml").read_text().replace("lung_nodule_ct", MODEL)
TAKEOVER_S = 5.0
_BUCKET = "many"


@dataclass
class Cluster:
    """options: settings of every node by their variable without prefix.

    s3: where objects lie, so that each node has a data folder of its own; None where they share one.
    """

    sandbox: Path
    network: Network
    postgres: Postgres
    pacs: Pacs
    s3: S3Server | None = None
    options: dict[str, str] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    @classmethod
    @contextmanager
    def running(
        cls,
        *,
        gateways: int,
        workers: int,
        portal: bool = True,
        code: Path = ROOT,
        has_s3: bool = True,
        **options: str,
    ) -> Iterator[Cluster]:
        sandbox = Path(tempfile.mkdtemp(prefix="radmeter-many-"))
        with (
            Network.made() as network,
            Pacs.listening("0.0.0.0" if network.is_apart else "127.0.0.1") as pacs,
            contextlib.ExitStack() as rest,
        ):
            postgres = Postgres(sandbox / "postgres", network.host, free_port())
            s3 = rest.enter_context(s3_server(host=network.host)) if has_s3 else None
            if s3 is not None:
                s3.make_bucket(_BUCKET)
            cluster = cls(sandbox, network, postgres, pacs, s3, options)
            caretaker = threading.Thread(target=cluster._look_after, daemon=True)
            try:
                if code == ROOT:
                    cluster.prepare()
                else:
                    cluster.prepare_with(code)
                for role, count in (("gateway", gateways), ("worker", workers), ("portal", int(portal))):
                    for number in range(1, count + 1):
                        cluster.add(role, f"{role}-{number}", code)
                caretaker.start()
                cluster.wait_until_up()
                yield cluster
            finally:
                cluster._ended.set()
                if caretaker.is_alive():
                    caretaker.join()
                trees = [process for node in cluster.nodes for process in node.tree()]
                for process in trees:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                psutil.wait_procs(trees, 20)
                postgres.stop()
                shutil.rmtree(sandbox, ignore_errors=True)

    def prepare(self) -> None:
        migrate(self.url)
        self.fill()

    def prepare_with(self, code: Path) -> None:
        """Migrate as another version of the code does."""
        environment = self.environment_of("migrate") | {"PYTHONPATH": str(code)}
        done = radmeter(["migrate"], environment, self.sandbox)
        assert done.returncode == 0, done.stderr
        self.fill()

    def fill(self) -> None:
        """A tenant with the light model, a contract for it, and the PACS that sends and gets results."""
        with owner_connection(self.url) as conn:
            create_tenant(conn, FIRST_TENANT, "Default", "RADMETER")
            conn.execute("UPDATE tenant SET models = ARRAY[%s]", (MODEL,))
            billing_store.add_contract(conn, FIRST_TENANT, CONTRACT)
            peers.save_peer(
                conn,
                FIRST_TENANT,
                ae_title="PACS",
                host=self.network.host,
                port=self.pacs.port,
                quiet_time_s=2.0,
            )

    def add(self, role: str, name: str, code: Path = ROOT, **options: str) -> Node:
        """A further node; it is started, not waited for. options: further settings, or whole variables."""
        address, prefix = self.network.join()
        port = free_port()
        environment = self.environment_of(name) | {
            "RADMETER_DICOM_HOST": address,
            "RADMETER_DICOM_PORT": str(port),
            "RADMETER_HTTP_HOST": address,
            "RADMETER_HTTP_PORT": str(port),
            **{key if key.startswith("LD_") else f"RADMETER_{key}": value for key, value in options.items()},
        }
        node = Node(name, role, address, port, self.sandbox / name, environment, prefix, code)
        node.start()
        self.nodes.append(node)
        return node

    def environment_of(self, name: str) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("RADMETER_")}
        objects = {}
        if self.s3 is not None:
            objects = {
                "RADMETER_OBJECTS": f"s3://{_BUCKET}/all",
                "RADMETER_OBJECTS_ENDPOINT": self.s3.url,
                "RADMETER_OBJECTS_REGION": REGION,
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
            }
        ours = {
            "RADMETER_DATABASE_URL": self.url,
            "RADMETER_DATA": str(self.sandbox / ("shared" if self.s3 is None else f"{name}/data")),
            "RADMETER_INFERENCE_THREADS": "1",
            "RADMETER_WORKER_CONCURRENCY": "1",
            "RADMETER_RECEIVER_PROCESSES": "1",
            "RADMETER_ASSOCIATIONS_PER_HOST_MAX": "64",
            "RADMETER_TAKEOVER_S": str(TAKEOVER_S),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }
        return inherited | ours | objects | {f"RADMETER_{key}": value for key, value in self.options.items()}

    @property
    def url(self) -> str:
        return self.postgres.url

    def of(self, role: str) -> list[Node]:
        return [node for node in self.nodes if node.role == role and node.is_wanted]

    def wait_until_up(self, timeout_s: float = 180.0) -> None:
        for node in self.nodes:
            if node.is_wanted:
                self.wait(lambda node=node: self.is_up(node), timeout_s, f"{node.name} is up")  # type: ignore[misc]

    @staticmethod
    def is_up(node: Node) -> bool:
        if node.role == "gateway":
            return echo(node.destination) is None
        if node.role == "portal":
            with contextlib.suppress(httpx.HTTPError):
                url = f"http://{node.address}:{node.port}/readyz"
                return httpx.get(url, timeout=10, verify=False).status_code == 200
            return False
        return node.log.count("worker_started") >= node.starts

    def wait(self, claim: Callable[[], bool], timeout_s: float, what: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not claim():
            assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}\n{self.logs()}"
            time.sleep(0.2)

    def logs(self, lines: int = 12) -> str:
        return "\n".join(
            f"--- {node.name}\n" + "\n".join(node.log.splitlines()[-lines:]) for node in self.nodes
        )

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """As the owner of the schema; while the database is away it is waited for."""
        deadline = time.monotonic() + 60
        while True:
            try:
                with owner_connection(self.url) as conn:
                    return conn.execute(query, values or None).fetchall()
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.3)

    def instance(self, location: str) -> Path:
        """The stored file of an instance."""
        if self.s3 is None:
            return self.sandbox / "shared/instances" / location
        found = self.s3.client().get_object(Bucket=_BUCKET, Key=f"all/instances/{location}")
        copy = self.sandbox / "looked-at.dcm"
        copy.write_bytes(found["Body"].read())
        return copy

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return radmeter(arguments, self.environment_of("command"), self.sandbox)

    def _look_after(self) -> None:
        """Start again what has ended and is wanted."""
        while not self._ended.wait(0.3):
            for node in list(self.nodes):
                code = node.process.poll() if node.process is not None else None
                if code is not None and node.is_wanted:
                    node.exits.append(code)
                    time.sleep(0.5)
                    node.start()
