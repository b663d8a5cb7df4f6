"""Which engine runs the models: from the settings to an endpoint. Loads no engine but the one that is chosen."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inference.engine import Engine
from inference.errors import EngineNotPossible

if TYPE_CHECKING:  # settings ask here in every process; most of them have no use for arrays
    from inference.endpoint import ServingEndpoint
    from inference.pool import SessionPool
    from inference.resilient import Observer
    from inference.triton_endpoint import TritonEndpoint

# Engine → provider → the precisions that it computes in.
POSSIBLE: dict[str, dict[str, tuple[str, ...]]] = {
    "onnxruntime": {"cpu": ("fp32", "int8"), "cuda": ("fp32",), "tensorrt": ("fp32", "fp16")},
    "openvino": {"cpu": ("fp32", "bf16", "int8")},
    # For a server that we start; what another one computes with stands in its model repository.
    "triton": {"cpu": ("fp32",), "cuda": ("fp32",), "tensorrt": ("fp32", "fp16")},
}
# Those that compute on any machine without anything else running: one may stand in for the chosen engine.
IN_PROCESS = ("onnxruntime", "openvino")
# Engine → the module that must be there, and what installs it.
_NEEDS = {
    "onnxruntime": ("onnxruntime", "the extra `cpu` or `gpu`"),
    "openvino": ("openvino", "the extra `openvino`"),
    "triton": ("tritonclient", "the extra `triton`"),
}


@dataclass(frozen=True)
class TritonChoice:
    """Where a Triton server is, and how inputs get there: see `inference.triton_client` and `triton_endpoint`."""

    url: str = "grpc://127.0.0.1:8001"
    authorities: str = ""
    certificate: str = ""
    key: str = ""
    shared_memory: str = "auto"


@dataclass(frozen=True)
class EngineChoice:
    """What the settings say about running models; a combination that cannot be is refused.

    threads: of one run, 0 = one for each core. cache_directory: where an engine keeps what it built for this machine.
    timeout_s: of one run. memory_mib: what opened models may use together. fallback: the engine that computes in fp32
    on the processor what the chosen one cannot; empty = nobody does.
    """

    engine: str = "onnxruntime"
    provider: str = "cpu"
    precision: str = "fp32"
    threads: int = 0
    cache_directory: Path | None = None
    timeout_s: float = 600.0
    memory_mib: int = 2048
    fallback: str = ""
    triton: TritonChoice = TritonChoice()

    def __post_init__(self) -> None:
        _pick("engine", "the engine", self.engine, POSSIBLE)
        providers = POSSIBLE[self.engine]
        _pick("provider", f"the provider of {self.engine}", self.provider, providers)
        precisions = providers[self.provider]
        _pick("precision", f"the precision of {self.engine} on {self.provider}", self.precision, precisions)
        if not self.timeout_s > 0:
            raise EngineNotPossible("timeout_s", f"a run cannot end within {self.timeout_s:g} s")
        if self.memory_mib < 1:
            raise EngineNotPossible("memory_mib", "models need some memory")
        if self.fallback:
            others = [name for name in IN_PROCESS if Engine(name, "cpu", "fp32") != self.as_engine]
            _pick("fallback", f"the fall-back of {self.as_engine}", self.fallback, others)

    @property
    def as_engine(self) -> Engine:
        """What results of this choice name."""
        if self.engine == "triton":
            return Engine("triton", self.triton.url, "as exported")
        return Engine(self.engine, self.provider, self.precision)


def make_endpoint(choice: EngineChoice, observer: Observer | None = None) -> ServingEndpoint:
    """The endpoint of a choice, within its limits. No model is opened yet."""
    from inference.pool import SessionPool
    from inference.resilient import Limits, ResilientEndpoint

    pool = SessionPool(choice.memory_mib << 20)
    second = EngineChoice(choice.fallback, threads=choice.threads) if choice.fallback else None
    return ResilientEndpoint(
        _engine(choice, pool),
        choice.as_engine,
        limits=Limits(choice.timeout_s),
        fallback=_engine(second, pool) if second else None,
        observer=observer,
    )


def _engine(choice: EngineChoice, pool: SessionPool) -> ServingEndpoint:
    problem = engine_problem(choice)
    if problem is not None:
        raise EngineNotPossible("engine", problem)
    if choice.engine == "openvino":
        from inference.openvino_endpoint import OpenVINOEndpoint

        return OpenVINOEndpoint(choice.threads, choice.precision, pool)
    if choice.engine == "triton":
        return make_triton_endpoint(choice)
    from inference.onnxruntime_endpoint import PROVIDERS, OnnxRuntimeEndpoint

    return OnnxRuntimeEndpoint(
        choice.threads, PROVIDERS[choice.provider], choice.precision, choice.cache_directory, pool
    )


def make_triton_endpoint(choice: EngineChoice) -> TritonEndpoint:
    """The endpoint of a server; nothing is sent yet."""
    from inference.triton_client import TritonAddress
    from inference.triton_endpoint import TritonEndpoint

    server = choice.triton
    address = TritonAddress.parse(
        server.url, authorities=server.authorities, certificate=server.certificate, key=server.key
    )
    return TritonEndpoint(address, timeout_s=choice.timeout_s, shared_memory=server.shared_memory)


def engine_problem(choice: EngineChoice) -> str | None:
    """Why the chosen engine cannot run models on this machine now, and what to do; None when it can. Opens no model."""
    module, remedy = _NEEDS[choice.engine]
    if importlib.util.find_spec(module) is None:
        return f"the engine {choice.engine} is not installed: it comes with {remedy}"
    return None


def _pick(part: str, what: str, given: str, known: Iterable[str]) -> None:
    names = tuple(known)
    if given not in names:
        raise EngineNotPossible(part, f"{what} is {' or '.join(names)}, not {given!r}")
