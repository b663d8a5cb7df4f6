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

# Engine → provider → the precisions that it computes in.
POSSIBLE: dict[str, dict[str, tuple[str, ...]]] = {
    "onnxruntime": {"cpu": ("fp32", "int8"), "cuda": ("fp32",), "tensorrt": ("fp32", "fp16")},
    "openvino": {"cpu": ("fp32", "bf16", "int8")},
}
# Engine → the module that must be there, and what installs it.
_NEEDS = {
    "onnxruntime": ("onnxruntime", "the extra `cpu` or `gpu`"),
    "openvino": ("openvino", "the extra `openvino`"),
}


@dataclass(frozen=True)
class EngineChoice:
    """What the settings say about running models; a combination that cannot be is refused.

    threads: of one run, 0 = one for each core. cache_directory: where an engine keeps what it built for this machine.
    """

    engine: str = "onnxruntime"
    provider: str = "cpu"
    precision: str = "fp32"
    threads: int = 0
    cache_directory: Path | None = None

    def __post_init__(self) -> None:
        _pick("engine", "the engine", self.engine, POSSIBLE)
        providers = POSSIBLE[self.engine]
        _pick("provider", f"the provider of {self.engine}", self.provider, providers)
        precisions = providers[self.provider]
        _pick("precision", f"the precision of {self.engine} on {self.provider}", self.precision, precisions)

    @property
    def as_engine(self) -> Engine:
        """What results of this choice name."""
        return Engine(self.engine, self.provider, self.precision)


def make_endpoint(choice: EngineChoice) -> ServingEndpoint:
    """The endpoint of a choice. No model is opened yet."""
    problem = not_installed(choice)
    if problem is not None:
        raise EngineNotPossible("engine", problem)
    if choice.engine == "openvino":
        from inference.openvino_endpoint import OpenVINOEndpoint

        return OpenVINOEndpoint(choice.threads, choice.precision)
    from inference.onnxruntime_endpoint import PROVIDERS, OnnxRuntimeEndpoint

    return OnnxRuntimeEndpoint(
        choice.threads, PROVIDERS[choice.provider], choice.precision, choice.cache_directory
    )


def not_installed(choice: EngineChoice) -> str | None:
    """What is missing on this machine for the chosen engine, and what to do; None when nothing is."""
    module, remedy = _NEEDS[choice.engine]
    if importlib.util.find_spec(module) is None:
        return f"the engine {choice.engine} is not installed: it comes with {remedy}"
    return None


def _pick(part: str, what: str, given: str, known: Iterable[str]) -> None:
    names = tuple(known)
    if given not in names:
        raise EngineNotPossible(part, f"{what} is {' or '.join(names)}, not {given!r}")
