"""The shape of a model: preprocess and postprocess around one ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from models.manifest import Manifest
from study.findings import Finding
from study.volume import Volume

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class ModelInput:
    """What the graph is run on.

    batches: the graph's inputs by name, one mapping for each run; runs may differ in shape.
    context: whatever `postprocess` needs to find its way back to the volume.
    """

    batches: tuple[Arrays, ...]
    context: object


class Model(Protocol):
    """A model that can be served. Both methods are pure: arrays in, arrays or findings out."""

    @property
    def manifest(self) -> Manifest:
        """The model's description."""
        ...

    def preprocess(self, volume: Volume) -> ModelInput:
        """The graph's inputs for a volume; raises `UnfitInput` when the volume cannot be judged."""
        ...

    def postprocess(self, outputs: Arrays, context: object, volume: Volume) -> tuple[Finding, ...]:
        """Findings, highest score first.

        outputs: the graph's outputs, those of all batches concatenated along the first axis.
        """
        ...
