"""One model over one image, with its output checked before anyone believes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.endpoint import Endpoint, Outputs
from inference.engine import Engine
from inference.errors import InvalidModelOutput
from models.errors import ModelNotFound, UnfitInput
from models.manifest import Manifest
from models.model import Model
from study.answer import Answer, Image
from study.findings import Finding


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
    """The answer and seconds spent in support (if any ran), preprocess, infer and postprocess.

    support: the models whose answers this one used. engines: what computed the runs, where the endpoint says so.
    """

    answer: Answer
    model: ModelIdentity
    timing_s: dict[str, float]
    support: tuple[ModelIdentity, ...] = ()
    engines: tuple[Engine, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Findings, highest score first."""
        return self.answer.findings


def identity_of(manifest: Manifest) -> ModelIdentity:
    """The part of a manifest that results repeat."""
    return ModelIdentity(
        manifest.name,
        manifest.version,
        manifest.weights_sha256,
        manifest.clearance_status,
        manifest.intended_use,
    )


def _tell_nobody(model: str, done: int, total: int) -> None:
    """The default where nobody follows the progress."""


def run_model(
    model: Model,
    image: Image,
    endpoint: Endpoint,
    *,
    get_model: Callable[[str], Model] | None = None,
    on_progress: Callable[[str, int, int], None] = _tell_nobody,
) -> InferenceResult:
    """Run a model over an image, after the models that it uses.

    get_model: where those are found; without it, and where one is not installed or cannot judge the image, the model
    answers without it. on_progress: told the model, its runs done and their number, before the first and after each.
    Raises `UnfitInput` when the image cannot be judged, `InvalidModelOutput` when a graph answers
    with anything but finite numbers of the shapes in the manifest, other `InferenceError`s when it does not answer.
    """
    started = time.perf_counter()
    supporters = _run_support(model, image, endpoint, get_model, on_progress) if get_model else {}
    supported = time.perf_counter()
    prepared = model.preprocess(image)
    ready = time.perf_counter()
    runs = []
    on_progress(model.manifest.name, 0, len(prepared.batches))
    for batch in prepared.batches:
        runs.append(check_outputs(endpoint.run(model, batch), model.manifest))
        on_progress(model.manifest.name, len(runs), len(prepared.batches))
    answered = time.perf_counter()
    outputs = {name: np.concatenate([run[name] for run in runs]) for name in model.manifest.outputs}
    support = {name: result.answer for name, result in supporters.items()}
    answer = model.postprocess(outputs, prepared.context, image, support)
    engines, notes = _provenance(runs)
    if notes:
        answer = replace(answer, notes=(*answer.notes, *notes))
    done = time.perf_counter()
    timing = {"preprocess": ready - supported, "infer": answered - ready, "postprocess": done - answered}
    if supporters:
        timing = {"support": supported - started, **timing}
    identities = tuple(result.model for result in supporters.values())
    return InferenceResult(answer, identity_of(model.manifest), timing, identities, engines)


def _run_support(
    model: Model,
    image: Image,
    endpoint: Endpoint,
    get_model: Callable[[str], Model],
    on_progress: Callable[[str, int, int], None],
) -> dict[str, InferenceResult]:
    """The results of the models that `model` uses. Those models are run without support of their own."""
    results: dict[str, InferenceResult] = {}
    for name in model.manifest.uses:
        try:
            results[name] = run_model(get_model(name), image, endpoint, on_progress=on_progress)
        except (ModelNotFound, UnfitInput):
            continue  # the model that wanted it says what is missing
    return results


def _provenance(runs: Sequence[Mapping[str, NDArray[Any]]]) -> tuple[tuple[Engine, ...], tuple[str, ...]]:
    """The engines that computed the runs, and what they noted, each once."""
    said = [run for run in runs if isinstance(run, Outputs)]
    return tuple({run.engine: None for run in said}), tuple({run.note: None for run in said if run.note})


def check_outputs(outputs: Mapping[str, NDArray[Any]], manifest: Manifest) -> Mapping[str, NDArray[Any]]:
    """The outputs as they are; raises `InvalidModelOutput` unless they are finite and of the manifest's shapes."""
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
