"""The model held against the real server: the rush of `capacity_steps`, simulated on one worker."""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np

from benchmarks.capacity.arrivals import Trace
from benchmarks.capacity.model import Model
from benchmarks.capacity.site import Site
from benchmarks.capacity.step_times import STEPS, StepTimes

_REPEATS = 20


def rush(measured: dict[str, Any], seed: int) -> dict[str, dict[str, list[float]]]:
    """Seconds from complete to delivered by priority, measured and of `_REPEATS` simulations.

    The model gets when each study was complete, what it was and how urgent, and the seconds of the steps of all of them
    as the server did them in the rush, but not which study had which.
    """
    studies = sorted(measured["rush"], key=lambda one: one["assembled_s"])
    arrived = np.array([one["assembled_s"] for one in studies])
    is_ct = np.array([one["modality"] == "CT" for one in studies])
    urgent = np.array([one["priority"] == "emergency" for one in studies])
    trace = Trace(arrived - arrived.min(), np.zeros(len(studies), int), is_ct, urgent, is_ct.astype(float))
    times = _times_of(studies, measured["alone"])
    simulated: dict[str, list[float]] = {"emergency": [], "normal": []}
    for number in range(_REPEATS):
        result = Model(trace, Site(workers=1), times, seed + number).run()
        for name, of in simulated.items():
            of += [
                float(one)
                for one in result.turnaround_s(emergencies=name == "emergency", since="assembled_s")
            ]
    real = {
        name: [one["delivered_s"] - one["assembled_s"] for one in studies if one["priority"] == name]
        for name in simulated
    }
    return {"measured": real, "simulated": simulated}


def _times_of(studies: list[dict[str, Any]], alone: dict[str, dict[str, list[float]]]) -> StepTimes:
    """A step is its work in the rush and the way from job to job of a server that has nothing else to do."""
    seconds = {}
    for modality, of in alone.items():
        way = of["assemble"]
        here = [one["steps"] for one in studies if one["modality"] == modality]
        seconds[modality] = {
            "assemble": [0.0],
            **{step: [one[step] + median(way) for one in here] for step in STEPS[:-1]},
            "deliver": way,
            "send": [max(0.0, one - median(way)) for one in of["send"]],
        }
    return StepTimes(
        seconds,
        network_s=0.0,
        gpu_s=[0.0],
        growth=((0.0, 1.0), (1e6, 1.0)),
        measured_slices=1.0,
        waits_s=[0.0],
    )
