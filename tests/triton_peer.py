"""A real Triton server for tests: from the wheel nvidia-pytriton, in an environment of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from inference import triton_shared_memory
from inference.errors import InferenceError
from inference.triton_client import TritonAddress
from inference.triton_endpoint import TritonEndpoint
from inference.triton_repository import QUEUE_SIZE_MAX, RepositoryForm, served_name, write_repository
from inference.triton_server import TritonServer
from inference.triton_shared_memory import FOLDER
from models.lung_nodule_ct.model import LungNoduleCT
from models.model import Model
from models.registry import get_model
from tests.conftest import ROOT, missing
from tests.ports import free_port

FORM = RepositoryForm(backend="python", threads=1)
READY_TIMEOUT_S = 60.0


def environment() -> Path:
    """Where the server is installed; skips the test, or fails it where nothing may be skipped, if it is not."""
    place = Path(os.environ.get("VENV_TRITON", ROOT / ".venv-triton"))
    if not (place.absolute() / "bin" / "python").exists():
        missing(
            "no Triton server (make test installs it, or scripts/setup.sh triton)", "RADMETER_REQUIRE_PEERS"
        )
    return place.absolute()


@dataclass
class RunningTriton:
    """One server with a repository of its own below `folder`."""

    folder: Path
    server: TritonServer
    address: TritonAddress
    metrics_port: int

    def endpoint(self, **options: Any) -> TritonEndpoint:
        return TritonEndpoint(self.address, **{"timeout_s": 30.0, **options})

    def stub(self) -> psutil.Process:
        """The process of Triton's python backend that runs the detector.

        While the model is loaded anew, there are two for a moment, or none.
        """
        deadline = time.monotonic() + 30
        while True:
            stubs = self._stubs()
            if len(stubs) == 1:
                return stubs[0]
            assert time.monotonic() < deadline, f"{len(stubs)} processes run the detector"
            time.sleep(0.2)

    def _stubs(self) -> list[psutil.Process]:
        assert self.server.pid is not None
        name, found = served_name(detector().manifest), []
        for one in psutil.Process(self.server.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if any(name in word for word in one.cmdline()):
                    found.append(one)
        return found


def new(folder: Path) -> RunningTriton:
    """A server that is not started yet."""
    port, metrics_port = free_port(), free_port()
    server = TritonServer(
        environment(), folder, folder / "repository", host="127.0.0.1", port=port, metrics_port=metrics_port
    )
    return RunningTriton(folder, server, TritonAddress("127.0.0.1", port), metrics_port)


@contextlib.contextmanager
def running(
    models: list[Model],
    changes: Mapping[str, Callable[[str], str]] | None = None,
    form: RepositoryForm = FORM,
) -> Iterator[RunningTriton]:
    """A server that serves `models`. changes: path in the repository → what is made of the text there."""
    folder = Path(tempfile.mkdtemp(prefix="radmeter-triton-"))
    triton = new(folder)
    try:
        names = write_repository(folder / "repository", models, form)
        for name, change in (changes or {}).items():
            path = folder / "repository" / name
            path.write_text(change(path.read_text()))
        triton.server.start(names)
        endpoint = triton.endpoint(shared_memory="off")
        triton.server.wait_until(lambda: all(serves(endpoint, model) for model in models), READY_TIMEOUT_S)
        endpoint.close()
        yield triton
    finally:
        triton.server.stop(grace_s=0)
        shutil.rmtree(folder, ignore_errors=True)


def serves(endpoint: TritonEndpoint, model: Model) -> bool:
    try:
        endpoint.warm(model)
    except InferenceError:
        return False
    return True


def detector() -> LungNoduleCT:
    model = get_model("lung_nodule_ct")
    assert isinstance(model, LungNoduleCT)
    return model


def misbehaving() -> LungNoduleCT:
    """Another version of the model; the server that runs it does what the first voxel of the input says."""
    return LungNoduleCT(dataclasses.replace(detector().manifest, version="9.9.9"))


def replacement() -> dict[str, Callable[[str], str]]:
    """What `running` changes for it: the code, and a queue that is soon full."""
    name = served_name(misbehaving().manifest)
    code = (ROOT / "tests" / "triton_misbehaviour.py").read_text()
    return {
        f"{name}/1/model.py": lambda _: code,
        f"{name}/config.pbtxt": lambda text: text.replace(
            f"max_queue_size: {QUEUE_SIZE_MAX}", "max_queue_size: 4"
        ),
    }


def box(first: int = 0, side: int = 32) -> dict[str, NDArray[Any]]:
    """An input of the detector; `first` is its first voxel, all others are air."""
    voxels = np.full((1, side, side, side), -1000, np.int16)
    voxels[0, 0, 0, 0] = first
    return {"hounsfield": voxels}


def regions() -> list[str]:
    """What lies in shared memory under the prefix of our endpoints."""
    return [path.name for path in FOLDER.glob(f"{triton_shared_memory.PREFIX}*")]
