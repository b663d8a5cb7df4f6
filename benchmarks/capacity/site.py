"""What the simulation is about: a site, its outages, studies, and what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.queue import _ASSEMBLY_PRIORITY, _ROUTING_PRIORITY, _STEP_PRIORITY
from pipeline.urgency import Priority
from server.settings import Settings


@dataclass(frozen=True)
class Outage:
    """From `at_s` for `lasts_s` seconds. what: a worker, a gpu or the pacs of a hospital; number: which one."""

    what: str
    number: int
    at_s: float
    lasts_s: float


@dataclass(frozen=True)
class Site:
    """What stands there. workers: processes of two cores, one step at a time. gpus: 0 = the workers run the models.

    takeover_s: of silence, until a worker counts as gone. batch_growth: what one more run costs a batch, as a share of
    a run alone: 1 = batches gain nothing.
    """

    workers: int
    gpus: int = 0
    max_batch: int = 1
    batch_growth: float = 1.0
    outages: Sequence[Outage] = ()
    takeover_s: float = Settings.takeover_s


@dataclass
class Study:
    """One study on its way; times in seconds of the trace. step: the one that is next; before it is assembled, -1.

    scale: how much longer a CT takes for its slices.
    """

    number: int
    hospital: int
    is_ct: bool
    is_emergency: bool
    scale: float
    arrived_s: float
    assembled_s: float = -1.0
    step: int = -1
    delivered_s: float = -1.0

    @property
    def priority(self) -> int:
        """Of its next job; a job of a higher number is taken first."""
        if self.step <= 0:
            return _ASSEMBLY_PRIORITY if self.step < 0 else _ROUTING_PRIORITY
        return _STEP_PRIORITY[Priority.EMERGENCY if self.is_emergency else Priority.NORMAL]


@dataclass(frozen=True, order=True)
class Job:
    rank: tuple[int, int]
    put_s: float = field(compare=False)
    study: Study = field(compare=False)


@dataclass(frozen=True)
class Take:
    """A job or run that a resource took. rank: priority, the higher the sooner."""

    resource: str
    rank: int
    put_s: float
    taken_s: float


@dataclass
class Result:
    """What came out. takes: of every resource, in order. queue_area_s: jobs that wait × seconds, as time went."""

    studies: list[Study] = field(default_factory=list)
    takes: list[Take] = field(default_factory=list)
    queue_area_s: float = 0.0
    worker_busy_s: float = 0.0
    gpu_busy_s: float = 0.0
    batches: list[int] = field(default_factory=list)
    ended_s: float = 0.0

    def turnaround_s(self, *, emergencies: bool, since: str = "arrived_s") -> NDArray[np.float64]:
        chosen = [one for one in self.studies if one.is_emergency == emergencies]
        return np.array([one.delivered_s - float(getattr(one, since)) for one in chosen])
