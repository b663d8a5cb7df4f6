"""One run that waits for its turn, and running what goes together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.endpoint import Endpoint, Outputs
from inference.errors import RunCancelled
from models.model import Model

Arrays = Mapping[str, NDArray[Any]]


@dataclass(eq=False)
class Request:
    """One run that waits. number: of its study. memory_bytes: what it is expected to need at its peak.

    set_back: how often it was broken off for an emergency. makes_way: whether it is to be broken off for one now.
    together: all that run as one with it, itself too. is_over: nothing will change about it any more.
    """

    model: Model
    inputs: Arrays
    tenant: str
    priority: int
    number: int
    memory_bytes: int
    is_cancelled: Callable[[], bool]
    arrived_at: float
    outputs: Arrays | None = None
    error: BaseException | None = None
    is_taken: bool = False
    set_back: int = 0
    makes_way: bool = False
    is_over: bool = False
    together: list[Request] = field(default_factory=list)

    @property
    def stacked(self) -> int:
        return len(next(iter(self.inputs.values())))

    def fits_with(self, other: Request) -> bool:
        """Whether both can be one run: same weights, and inputs that differ along axis 0 alone."""
        return (
            self.model.manifest.weights_sha256 == other.model.manifest.weights_sha256
            and self.inputs.keys() == other.inputs.keys()
            and all(
                array.shape[1:] == other.inputs[name].shape[1:] and array.dtype == other.inputs[name].dtype
                for name, array in self.inputs.items()
            )
        )


def expected_memory_bytes(model: Model, inputs: Arrays) -> int:
    """Peak memory of one run beside the model's weights, from the manifest's figure for one input element."""
    elements = sum(array.size for array in inputs.values())
    return round(elements * model.manifest.run_bytes_per_element)


def run_batch(endpoint: Endpoint, batch: list[Request]) -> None:
    """One run for all, its outputs divided; where that fails, each by itself, so that none fails for another."""
    if len(batch) > 1:
        try:
            _divide(batch, endpoint.run(batch[0].model, _stacked(batch)))
        except RunCancelled as error:
            for one in batch:
                one.error = error
        except Exception:
            for one in batch:
                _run_alone(endpoint, one)
    else:
        _run_alone(endpoint, batch[0])


def _run_alone(endpoint: Endpoint, request: Request) -> None:
    try:
        request.outputs = endpoint.run(request.model, request.inputs)
    except Exception as error:
        request.error = error


def _stacked(batch: list[Request]) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate([one.inputs[name] for one in batch]) for name in batch[0].inputs}


def _divide(batch: list[Request], outputs: Arrays) -> None:
    """Give each request its rows; raises ValueError when the graph gave another number of rows."""
    edges = np.cumsum([0, *(one.stacked for one in batch)])
    if any(len(array) != edges[-1] for array in outputs.values()):
        raise ValueError("the graph did not answer with one row for each input")
    for one, first, last in zip(batch, edges[:-1], edges[1:], strict=True):
        rows = {name: array[first:last] for name, array in outputs.items()}
        one.outputs = Outputs(rows, outputs.engine, outputs.note) if isinstance(outputs, Outputs) else rows
