"""The port through which a model's graph is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

from models.model import Model


class Endpoint(Protocol):
    """Something that runs ONNX graphs. Implementations may be called from several threads."""

    def run(self, model: Model, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the model's graph once; raises `InferenceError` or, for bad weights, `ModelError`."""
        ...
