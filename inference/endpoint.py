"""The port through which a model's graph is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from inference.engine import Engine
from models.model import Model


class Outputs(dict[str, NDArray[Any]]):
    """A graph's outputs by name, and the engine that really computed them.

    An endpoint may answer with any mapping; from this one the result learns who computed it.
    note: what a reader of the result should know about this run, a sentence or empty.
    """

    def __init__(self, values: Mapping[str, NDArray[Any]], engine: Engine, note: str = "") -> None:
        super().__init__(values)
        self.engine, self.note = engine, note


class Endpoint(Protocol):
    """Something that runs ONNX graphs. Implementations may be called from several threads."""

    def run(self, model: Model, inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Run the model's graph once; raises `InferenceError` or, for bad weights, `ModelError`."""
        ...


class ServingEndpoint(Endpoint, Protocol):
    """An endpoint as `inference.choose` makes it: it can open a model before the first study needs it."""

    def warm(self, model: Model) -> None:
        """Open the model; raises what `run` would."""
        ...
