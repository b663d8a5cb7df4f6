"""Made-up arrivals of studies, as PACS and scanners send them: the same seed gives the same traces.

A trace is what a receiver sees (associations, instances, MPPS, what the sender's archive would answer at any moment)
and what it cannot see: when the last instance of the study came. Instances that somebody adds minutes later do not
count as the last: nothing at the time of the study says that they will come.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Literal

Knowledge = Literal[
    "nothing", "mpps", "mpps late", "mpps lists more", "mpps lists less", "counts", "counts of a filling archive",
    "both",
]  # fmt: skip
KNOWLEDGE: tuple[Knowledge, ...] = (
    "nothing", "mpps", "mpps late", "mpps lists more", "mpps lists less", "counts", "counts of a filling archive",
    "both",
)  # fmt: skip
Habit = Literal["one burst", "association per series", "split", "scanner", "two routes", "unreliable"]
HABITS: tuple[Habit, ...] = (
    "one burst", "association per series", "split", "scanner", "two routes", "unreliable",
)  # fmt: skip


@dataclass(frozen=True)
class Instance:
    """One instance: its series and its place in the series."""

    series: int
    number: int


@dataclass(frozen=True)
class Stored:
    """An instance arrives. association: which one brought it; is_again: it had come before."""

    at_s: float
    instance: Instance
    association: int
    is_again: bool = False


@dataclass(frozen=True)
class Association:
    """When it closed, and how."""

    closed_at_s: float
    how: Literal["released", "aborted"] = "released"


@dataclass(frozen=True)
class Step:
    """MPPS: created in progress, completed with its list."""

    created_at_s: float
    completed_at_s: float
    listed: frozenset[Instance]


@dataclass(frozen=True)
class Trace:
    """One study. series_sizes: instances of each planned series. stored: in order of time.

    in_archive_at_s: when the sender's archive had each instance; empty where it cannot be asked.
    last_s: when the last planned instance had come for the first time.
    """

    knowledge: Knowledge
    habit: Habit
    series_sizes: tuple[int, ...]
    stored: tuple[Stored, ...]
    associations: tuple[Association, ...]
    step: Step | None = None
    in_archive_at_s: dict[Instance, float] = field(default_factory=dict)
    last_s: float = 0.0

    @property
    def count(self) -> int:
        """Planned instances."""
        return sum(self.series_sizes)


def make_trace(rng: random.Random, knowledge: Knowledge, habit: Habit) -> Trace:
    """Time zero is the first instance."""
    sizes = _series_sizes(rng)
    planned = [Instance(series, number) for series, size in enumerate(sizes) for number in range(size)]
    arrival = _Arrival(rng)
    _HABITS[habit](arrival, _in_sending_order(rng, sizes))
    if rng.random() < 0.1:
        arrival.retransmit_slices(planned)
    last_s = max(one.at_s for one in arrival.stored if not one.is_again)
    if rng.random() < 0.15:
        arrival.send_again(planned)
    later = _added_later(rng, sizes, last_s, arrival) if rng.random() < 0.08 else []
    arrival.stored.sort(key=lambda one: one.at_s)
    return Trace(
        knowledge, habit, sizes, tuple(arrival.stored), tuple(arrival.associations),
        _step(rng, knowledge, planned, last_s),
        _archive(rng, knowledge, arrival.stored, frozenset(later)),
        last_s,
    )  # fmt: skip


def _series_sizes(rng: random.Random) -> tuple[int, ...]:
    """A localizer, stacks, now and then a dose report; or the few images of a radiograph."""
    if rng.random() < 0.2:
        return tuple(1 for _ in range(rng.randint(1, 4)))
    stacks = [rng.randint(40, 400) for _ in range(rng.choice((1, 1, 2, 2, 3, 4)))]
    return (rng.randint(1, 3), *stacks, *([1] if rng.random() < 0.5 else []))


def _in_sending_order(rng: random.Random, sizes: tuple[int, ...]) -> list[list[Instance]]:
    """Series after series; in some studies the series, or the slices inside them, are out of order."""
    series = [[Instance(index, number) for number in range(size)] for index, size in enumerate(sizes)]
    if rng.random() < 0.3:
        rng.shuffle(series)
    if rng.random() < 0.2:
        for one in series:
            rng.shuffle(one)
    return series


@dataclass
class _Arrival:
    """A trace being made. clock_s: where the sender stands."""

    rng: random.Random
    clock_s: float = 0.0
    stored: list[Stored] = field(default_factory=list)
    associations: list[Association] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.interval_s = 1 / self.rng.choice((2, 10, 40, 100))

    def associate(self, instances: list[Instance], how: Literal["released", "aborted"] = "released") -> None:
        """One association that brings these, and closes soon after the last."""
        number = len(self.associations)
        for one in instances:
            self.stored.append(Stored(self.clock_s, one, number))
            self.clock_s += self.interval_s * self.rng.uniform(0.5, 1.5)
            if self.rng.random() < 0.002:
                self.clock_s += self.rng.uniform(1, 10)  # another study on the same line
        self.associations.append(Association(self.clock_s + self.rng.uniform(0.01, 2), how))

    def pause(self, longest_s: float) -> None:
        self.clock_s += self.rng.uniform(0, longest_s)

    def retransmit_slices(self, planned: list[Instance]) -> None:
        """A few slices failed and are sent once more, minutes after the others; lists know of them."""
        slices = [one for one in planned if one.number > 2]
        victims = set(self.rng.sample(slices, min(len(slices), self.rng.randint(1, 5))))
        self.stored = [one for one in self.stored if one.instance not in victims]
        self.clock_s = max(one.at_s for one in self.stored) + self.rng.uniform(20, 120)
        if victims:
            self.associate(sorted(victims, key=lambda one: (one.series, one.number)))

    def send_again(self, planned: list[Instance]) -> None:
        """Part of the study once more: a second button, a second rule."""
        self.pause(60)
        before = len(self.stored)
        self.associate(planned[: self.rng.randint(1, len(planned))])
        self.stored[before:] = [
            Stored(one.at_s, one.instance, one.association, is_again=True) for one in self.stored[before:]
        ]


def _one_burst(arrival: _Arrival, series: list[list[Instance]]) -> None:
    arrival.associate([one for members in series for one in members])


def _association_per_series(arrival: _Arrival, series: list[list[Instance]]) -> None:
    for members in series:
        arrival.associate(members)
        arrival.pause(8)


def _split(arrival: _Arrival, series: list[list[Instance]]) -> None:
    """Three associations that know nothing of series, about 40 s apart."""
    everything = [one for members in series for one in members]
    third = max(1, len(everything) // 3)
    for start in range(0, len(everything), third):
        arrival.associate(everything[start : start + third])
        arrival.clock_s += arrival.rng.uniform(30, 50)


def _scanner(arrival: _Arrival, series: list[list[Instance]]) -> None:
    """Each series when it was acquired or reconstructed."""
    for members in series:
        arrival.associate(members)
        arrival.pause(120)


def _two_routes(arrival: _Arrival, series: list[list[Instance]]) -> None:
    """Two senders bring the same study, the second some seconds behind and each with its own holes."""
    everything = [one for members in series for one in members]
    arrival.associate([one for one in everything if one.number % 7])
    arrival.clock_s = arrival.rng.uniform(1, 20)
    arrival.associate([one for one in everything if one.number % 5 or one.number % 7 == 0])
    arrival.stored.sort(key=lambda one: one.at_s)
    seen: set[Instance] = set()
    for position, one in enumerate(arrival.stored):
        if one.instance in seen:
            arrival.stored[position] = Stored(one.at_s, one.instance, one.association, is_again=True)
        seen.add(one.instance)
    missing = [one for one in everything if one not in seen]
    if missing:
        arrival.clock_s = max(one.at_s for one in arrival.stored) + 1
        arrival.associate(missing)


def _unreliable(arrival: _Arrival, series: list[list[Instance]]) -> None:
    """Breaks off in the middle and comes back for the rest."""
    everything = [one for members in series for one in members]
    while everything:
        whole = arrival.rng.random() < 0.5
        count = len(everything) if whole else arrival.rng.randint(1, len(everything))
        arrival.associate(everything[:count], "released" if whole else "aborted")
        everything = everything[count:]
        arrival.clock_s += arrival.rng.uniform(5, 90)


_HABITS = {
    "one burst": _one_burst,
    "association per series": _association_per_series,
    "split": _split,
    "scanner": _scanner,
    "two routes": _two_routes,
    "unreliable": _unreliable,
}


def _added_later(
    rng: random.Random, sizes: tuple[int, ...], last_s: float, arrival: _Arrival
) -> list[Instance]:
    """A reconstruction that somebody makes minutes after the study; on no list when the study ends."""
    added = [Instance(len(sizes), number) for number in range(rng.randint(1, 60))]
    arrival.clock_s = max(arrival.clock_s, last_s) + rng.uniform(300, 1800)
    arrival.associate(added)
    return added


def _step(rng: random.Random, knowledge: Knowledge, planned: list[Instance], last_s: float) -> Step | None:
    if knowledge not in ("mpps", "mpps late", "mpps lists more", "mpps lists less", "both"):
        return None
    listed = set(planned)
    if knowledge == "mpps lists more":
        listed |= {Instance(90, number) for number in range(rng.randint(1, 3))}  # raw data
    if knowledge == "mpps lists less":
        last = max(one.series for one in planned)
        listed = {one for one in planned if one.series != last or last == 0}
    completed_s = last_s + rng.uniform(10, 180) if knowledge == "mpps late" else rng.uniform(0, last_s + 10)
    return Step(-rng.uniform(60, 600), completed_s, frozenset(listed))


def _archive(
    rng: random.Random, knowledge: Knowledge, stored: list[Stored], later: frozenset[Instance]
) -> dict[Instance, float]:
    """A whole archive had everything before it began to send; a filling one passes on what it has just got."""
    if knowledge not in ("counts", "counts of a filling archive", "both"):
        return {}
    first = {one.instance: one.at_s for one in reversed(stored)}
    if knowledge != "counts of a filling archive":
        return {one: at_s - 1 if one in later else -60.0 for one, at_s in first.items()}
    lag_s = rng.choice((0.3, 1.0, 3.0))
    return {one: at_s - lag_s * rng.uniform(0.5, 1.0) for one, at_s in first.items()}
