"""One rendered container as a process of this machine: its arguments, its environment, its mounts, and nothing else.

Everything but the mounts is read-only, the user is the one of the chart, no right is left (`unshare`, `setpriv`). Ports
and folders are replaced, so that several run side by side.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.conftest import ROOT
from tests.helm_chart import Object
from tests.ports import free_port
from tests.server_process import end

# In a namespace of its own: the whole tree read-only, then the folders that the pod mounts for writing.
_ISOLATE = """
set -e
mount -o remount,bind,ro /
while [ "$1" != -- ]; do mount --bind "$1" "$1"; mount -o remount,bind,rw "$1"; shift; done; shift
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all --ambient-caps=-all "$@"
"""


@dataclass
class Pod:
    """root: where the container's file system would begin. environment: as rendered, with references resolved."""

    root: Path
    template: Object
    container: Object
    environment: dict[str, str]
    ports: dict[int, int] = field(default_factory=dict)

    def place(self, path: str) -> Path:
        """Where a path of the container lies here."""
        return self.root / path.lstrip("/")

    @property
    def arguments(self) -> list[str]:
        """The container's own, with folders of this machine."""
        return [str(self.place(one)) if one.startswith("/") else one for one in self.container["args"]]

    @property
    def writable(self) -> list[Path]:
        return [
            self.place(one["mountPath"]) for one in self.container["volumeMounts"] if not one.get("readOnly")
        ]

    def command(self, *arguments: str) -> list[str]:
        """What the container would run, with these arguments in place of its own."""
        user = str(self.template["spec"]["securityContext"]["runAsUser"])
        for folder in self.writable:
            folder.mkdir(parents=True, exist_ok=True)
        isolation = [
            "unshare",
            "--user",
            f"--map-user={user}",
            f"--map-group={user}",
            "--keep-caps",
            "--mount",
        ]
        shell = ["sh", "-c", _ISOLATE, "sh"]
        program = ["env", "-i", *(f"{name}={value}" for name, value in self._own_environment().items())]
        return [
            *isolation, "--propagation", "private", *shell, *map(str, self.writable), "--", *program, *arguments,
        ]  # fmt: skip

    def _own_environment(self) -> dict[str, str]:
        """The image's own variables, then the chart's, with folders and ports of this machine."""
        image = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(self.place("/tmp")),
            "XDG_CACHE_HOME": str(self.place("/tmp")),
            "HOME": str(self.place("/var/lib/radmeter")),
            "LOGNAME": "radmeter",  # as the image's list of users says
            "RADMETER_DATA": str(self.place("/var/lib/radmeter")),
        }
        given = {}
        for name, value in self.environment.items():
            if value.startswith("/"):
                value = str(self.place(value))
            elif name.endswith("_PORT") and value.isdigit():
                value = str(self.port(int(value)))
            elif name.endswith("_HOST"):
                assert value == "0.0.0.0", f"{name}: a pod that listens to itself alone is reached by nobody"
                value = "127.0.0.1"
            given[name] = value
        return image | given

    def port(self, inside: int) -> int:
        """The port of this machine that stands for one of the container."""
        if inside not in self.ports:
            self.ports[inside] = free_port()
        return self.ports[inside]

    def url_of(self, probe: str) -> str:
        """What the kubelet would ask."""
        asked = self.container[probe]["httpGet"]
        inside = next(p["containerPort"] for p in self.container["ports"] if p["name"] == asked["port"])
        return f"http://127.0.0.1:{self.port(inside)}{asked['path']}"

    def run(self, *arguments: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), cwd="/", capture_output=True, text=True, timeout=timeout_s, check=False
        )

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """The container's own command until the block ends."""
        with (self.root / "log").open("wb") as log:
            process = subprocess.Popen(
                self.command(*radmeter(*self.arguments)), cwd="/", stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            end(process)

    def log(self) -> str:
        return (self.root / "log").read_text(errors="replace")[-4000:]


def radmeter(*arguments: str) -> list[str]:
    """The image's entry point."""
    return [sys.executable, "-m", "server", *map(str, arguments)]


def can_isolate() -> str | None:
    """Why this machine cannot run such a process; None if it can."""
    if shutil.which("unshare") is None or shutil.which("setpriv") is None:
        return "not installed: unshare, setpriv (util-linux)"
    command = [
        "unshare",
        "--user",
        "--map-user=10001",
        "--keep-caps",
        "--mount",
        "mount",
        "-o",
        "remount,bind,ro",
        "/",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"no namespaces here: {done.stderr.strip()}"


def answer(url: str) -> int | None:
    try:
        return httpx.get(url, timeout=10, verify=False).status_code
    except httpx.HTTPError:
        return None
