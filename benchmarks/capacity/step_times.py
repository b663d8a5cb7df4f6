"""Seconds of each step as they were measured: which result file each figure is from, and how it is drawn.

All are of a worker on two cores that does one step at a time. A step's seconds are drawn from those measured, one by
one (no fitted curve); those of a CT's decoding and model grow with its slices as `ct_path` found.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import traces
from benchmarks.capacity.site import Study

RESULTS = Path(__file__).resolve().parent.parent / "results"
STEPS = ("route", "decode", "infer", "encode", "deliver")
_GROWS_WITH_SLICES = frozenset({"decode", "infer"})
Samples = Sequence[float]


@dataclass(frozen=True)
class Cost:
    """seconds: of the worker. network_s: the part of them that a GPU takes off it. gpu_s: what the GPU needs."""

    seconds: float
    network_s: float = 0.0
    gpu_s: float = 0.0


@dataclass(frozen=True)
class StepTimes:
    """seconds: modality → step → measured; steps are those of STEPS, `assemble` and `send` (one destination).

    network_s: a CT's network on the cores. gpu_s: on the GPU. growth: (slices, seconds) of a CT by its slices;
    measured_slices: of the CT that `seconds` are of. waits_s: from the last instance until a study counts as complete.
    factor: all seconds are multiplied by it, for the sensitivity.
    """

    seconds: dict[str, dict[str, Samples]]
    network_s: float
    gpu_s: Samples
    growth: tuple[tuple[float, float], ...]
    measured_slices: float
    waits_s: Samples
    factor: float = 1.0

    def draw(self, rng: Random, study: Study, step: str) -> Cost:
        seconds = rng.choice(self.seconds["CT" if study.is_ct else "CR"][step]) * self.factor
        if not study.is_ct or step not in _GROWS_WITH_SLICES:
            return Cost(seconds)
        seconds *= study.scale
        if step != "infer":
            return Cost(seconds)
        factor = study.scale * self.factor
        return Cost(seconds, min(self.network_s * factor, seconds), rng.choice(self.gpu_s) * factor)

    def scale(self, slices: NDArray[np.float64]) -> NDArray[np.float64]:
        """How much longer a CT of so many slices takes than the one that was measured."""
        return np.asarray(self._size(slices) / self._size(np.array([self.measured_slices])))

    def mean_s(self, *, is_ct: bool, slices: float = 0.0) -> float:
        """Of a worker for one study, all steps on the cores."""
        of = self.seconds["CT" if is_ct else "CR"]
        scale = float(self.scale(np.array([slices]))[0]) if is_ct else 1.0
        steps = ("assemble", *STEPS)
        return self.factor * sum(
            fmean(of[step]) * (scale if step in _GROWS_WITH_SLICES else 1.0) for step in steps
        )

    def times(self, factor: float) -> StepTimes:
        return replace(self, factor=self.factor * factor)

    def _size(self, slices: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.interp(slices, *zip(*self.growth, strict=True)))


@dataclass(frozen=True)
class Source:
    """Where a figure is from."""

    figure: str
    file: str
    machine: str


def load(results: Path = RESULTS) -> tuple[StepTimes, list[Source]]:
    """The newest measurements of each kind, and their names."""
    steps_file, steps = newest(results, "capacity_steps")
    path_file, path = newest(results, "ct_path")
    gpu_file = sorted(results.glob("*h100-inference.json"))[-1]
    gpu = json.loads(gpu_file.read_text())
    measured = steps["results"]["capacity_steps"]
    ct = path["results"]["ct_path"]
    times = StepTimes(
        seconds={
            modality: _without_the_others(of, measured["database_per_study"][modality])
            for modality, of in measured["alone"].items()
        },
        network_s=ct["ours"]["onnxruntime fp32"]["warm_s"]["infer"],
        gpu_s=[one["cuda"]["warm"]["infer_s"] for one in gpu["results"]["inference_provider"]],
        growth=tuple((float(n), one["total_s"]) for n, one in ct["growth"].items()),
        measured_slices=float(measured["ct_slices"]),
        waits_s=traces.waits_s("both"),
    )
    return times, [
        Source("steps of CT and radiograph, statements", steps_file.name, _machine(steps)),
        Source("growth with slices, network on the cores", path_file.name, _machine(path)),
        Source("network on a GPU", gpu_file.name, str(gpu["machine"]["gpu"])),
    ]


def _without_the_others(steps: dict[str, list[float]], cost: dict[str, float]) -> dict[str, Samples]:
    """The seconds as measured; where the machine was busy with other things, no more than what the processor spent.

    On an idle machine a study takes fewer seconds than its processes spend together, and nothing is changed.
    """
    lasted = sum(fmean(values) for values in steps.values())
    spent = cost["server_s"] + cost["processor_s"] if "server_s" in cost else lasted
    share = min(1.0, spent / lasted)
    return {step: tuple(one * share for one in values) for step, values in steps.items()}


def newest(results: Path, benchmark: str) -> tuple[Path, dict[str, Any]]:
    """The latest result file that has figures of `benchmark`. Raises FileNotFoundError with what to run."""
    found = [
        (data["machine"]["measured_at"], path, data)
        for path in results.glob("*.json")
        if benchmark in (data := json.loads(path.read_text()))["results"]
    ]
    if not found:
        raise FileNotFoundError(
            f"no result of {benchmark} in {results}; run: python -m benchmarks {benchmark}"
        )
    _, path, data = max(found, key=lambda one: str(one[0]))
    return path, data


def _machine(data: dict[str, Any]) -> str:
    facts = data["machine"]
    return f"{facts['core_count']} cores of {facts['cpu_model']}, load {facts['load_average_1min']} when it began"


def constant(seconds: float, modalities: Sequence[str] = ("CT", "CR")) -> dict[str, dict[str, Samples]]:
    """Every step takes as long: for tests."""
    return {m: {step: [seconds] for step in ("assemble", *STEPS, "send")} for m in modalities}
