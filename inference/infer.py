"""One model over one volume, with its output checked before anyone believes it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.endpoint import Endpoint
from inference.errors import InvalidModelOutput
from models.manifest import Manifest
from models.model import Model
from study.findings import Finding
from study.volume import Volume


@dataclass(frozen=True)
class ModelIdentity:
    """What every result must say about the model that made it."""

    name: str
    version: str
    weights_sha256: str
    clearance_status: str
    intended_use: str


@dataclass(frozen=True)
class InferenceResult:
    """Findings, highest score first, and seconds spent in preprocess, infer and postprocess."""

    findings: tuple[Finding, ...]
    model: ModelIdentity
    timing_s: dict[str, float]


def identity_of(manifest: Manifest) -> ModelIdentity:
    """The part of a manifest that results repeat."""
    return ModelIdentity(
        manifest.name,
        manifest.version,
        manifest.weights_sha256,
        manifest.clearance_status,
        manifest.intended_use,
    )


def run_model(model: Model, volume: Volume, endpoint: Endpoint) -> InferenceResult:
    """Run a model over a volume.

    Raises `UnfitInput` when the volume cannot be judged, `InvalidModelOutput` when the graph answers
    with anything but finite numbers of the shapes in the manifest, other `InferenceError`s when it
    does not answer.
    """
    started = time.perf_counter()
    prepared = model.preprocess(volume)
    ready = time.perf_counter()
    runs = [_checked(endpoint.run(model, batch), model.manifest) for batch in prepared.batches]
    answered = time.perf_counter()
    outputs = {name: np.concatenate([run[name] for run in runs]) for name in model.manifest.outputs}
    findings = model.postprocess(outputs, prepared.context, volume)
    done = time.perf_counter()
    timing = {"preprocess": ready - started, "infer": answered - ready, "postprocess": done - answered}
    return InferenceResult(findings, identity_of(model.manifest), timing)


def _checked(outputs: Mapping[str, NDArray[Any]], manifest: Manifest) -> Mapping[str, NDArray[Any]]:
    for name, expected in manifest.outputs.items():
        array = outputs.get(name)
        if array is None:
            raise InvalidModelOutput(f"{manifest.name} gave no output called {name!r}")
        fits = len(array.shape) == len(expected) and all(
            want in (-1, have) for want, have in zip(expected, array.shape, strict=True)
        )
        if not fits:
            raise InvalidModelOutput(f"{manifest.name}: {name} has shape {array.shape}, expected {expected}")
        if not np.isfinite(array).all():
            raise InvalidModelOutput(f"{manifest.name}: {name} holds NaN or infinity")
    return outputs
