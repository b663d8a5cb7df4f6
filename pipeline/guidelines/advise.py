"""From a guideline's table to advice on one nodule, or to the reason why there is none.

Where something is not known, the table is read for everything that it could be. When all of that comes to the same
advice, it is given; when not, the inputs on which it hangs are named, and nothing is said.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from pipeline.guidelines.inputs import POSSIBLE, Case


@dataclass(frozen=True)
class Advice:
    """What the guideline says. category: short, as a table shows it. rule: the table's cell. management: a sentence."""

    category: str
    rule: str
    management: str


@dataclass(frozen=True)
class NotApplicable:
    """The guideline says of itself that it is not for this patient or examination."""

    reason: str


@dataclass(frozen=True)
class Abstains:
    """Something is not known on which the advice hangs. missing: names of fields of `Case`."""

    missing: tuple[str, ...]


Verdict = Advice | NotApplicable


@dataclass(frozen=True)
class Guideline:
    """One published guideline. inputs: the fields of `Case` that its table reads. read: the table, for known inputs.

    categories: least to most pressing.
    """

    name: str
    title: str
    source: str
    categories: tuple[str, ...]
    inputs: tuple[str, ...]
    read: Callable[[Case], Verdict]


Stretches = tuple[tuple[float | None, str, str], ...]
"""Rows of a table by size, smallest first: where each ends (not included; None = never), its category, its words."""


def find_stretch(value: float, stretches: Stretches) -> tuple[str, str]:
    """Category and words of the first stretch that ends above the value."""
    return next((category, words) for end, category, words in stretches if end is None or value < end)


def advise(guideline: Guideline, case: Case) -> Verdict | Abstains:
    """What the guideline says of the case."""
    unknown = [name for name in guideline.inputs if getattr(case, name) is None and name in POSSIBLE]
    verdicts = {tuple(given.items()): guideline.read(_with(case, given)) for given in _completions(unknown)}
    if len(set(verdicts.values())) == 1:
        return next(iter(verdicts.values()))
    return Abstains(tuple(name for name in unknown if _decides(name, unknown, verdicts)))


def _completions(unknown: list[str]) -> Iterator[dict[str, object]]:
    for values in itertools.product(*(POSSIBLE[name] for name in unknown)):
        yield dict(zip(unknown, values, strict=True))


def _with(case: Case, given: dict[str, Any]) -> Case:
    return replace(case, **given)


def _decides(name: str, unknown: list[str], verdicts: dict[tuple[tuple[str, object], ...], Verdict]) -> bool:
    """Whether a change of this input alone can change the verdict."""
    place = unknown.index(name)
    groups: dict[tuple[object, ...], set[Verdict]] = {}
    for given, verdict in verdicts.items():
        others = tuple(value for index, (_, value) in enumerate(given) if index != place)
        groups.setdefault(others, set()).add(verdict)
    return any(len(found) > 1 for found in groups.values())
