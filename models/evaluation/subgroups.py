"""The same figure for parts of the data: by size, slice thickness, kernel, vendor, sex, age."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from models.evaluation.bootstrap import Estimate

Facts = Mapping[str, str | float]
"""What is known of one unit, by name: texts as they are, numbers in the unit of the name. Unknown: absent."""

# A part with fewer units than this says nothing that its interval would not swallow.
SMALLEST_GROUP = 10
UNKNOWN = "not known"

_MORE = float("inf")
_SLICES = ((1.0, "to 1 mm"), (2.0, "over 1 to 2 mm"), (3.0, "over 2 to 3 mm"), (_MORE, "over 3 mm"))
# Where numbers are cut into bands: the highest value of each band and its name.
BANDS: dict[str, tuple[tuple[float, str], ...]] = {
    "diameter_mm": (
        (5.999, "under 6 mm"), (9.999, "6 to 10 mm"), (30.0, "10 to 30 mm"), (_MORE, "over 30 mm"),
    ),
    "slice_thickness_mm": _SLICES,
    "slice_spacing_mm": _SLICES,
    "age_years": ((17.999, "under 18"), (39.999, "18 to 39"), (64.999, "40 to 64"), (_MORE, "65 and older")),
}  # fmt: skip


@dataclass(frozen=True)
class Group:
    """One part: `fact` is what it is cut by, `value` which part, `count` of how many units.

    estimate: None where the part is too small to say anything.
    """

    fact: str
    value: str
    count: int
    estimate: Estimate | None

    def as_json(self) -> dict[str, object]:
        """As plain values; `too_few` stands where a figure would mislead."""
        if self.estimate is None:
            return {"fact": self.fact, "group": self.value, "too_few": True, "count": self.count}
        return {"fact": self.fact, "group": self.value, **self.estimate.as_json(), "count": self.count}


def band(fact: str, value: str | float) -> str:
    """The part that a value belongs to, as a person would write it; numbers without bands stand as they are."""
    bands = BANDS.get(fact)
    if isinstance(value, str) or bands is None:
        return str(value)
    return next(name for highest, name in bands if value <= highest)


def parts(facts: Sequence[Facts]) -> dict[str, dict[str, NDArray[np.intp]]]:
    """Indices of the units of each part, by fact and value; a fact that no unit has is left out."""
    names = sorted({name for one in facts for name in one})
    found: dict[str, dict[str, NDArray[np.intp]]] = {}
    for name in names:
        members: dict[str, list[int]] = {}
        for index, one in enumerate(facts):
            members.setdefault(band(name, one[name]) if name in one else UNKNOWN, []).append(index)
        order = sorted(members, key=partial(_rank, name))
        found[name] = {value: np.array(members[value], np.intp) for value in order}
    return found


def _rank(fact: str, value: str) -> tuple[int, str]:
    """Bands by size, texts by the alphabet, the unknown last."""
    names = [name for _, name in BANDS.get(fact, ())]
    place = names.index(value) if value in names else -1
    return (len(names) if value == UNKNOWN else place), value


def table(
    facts: Sequence[Facts],
    measure: Callable[[NDArray[np.intp]], Estimate],
    *,
    smallest: int = SMALLEST_GROUP,
) -> tuple[Group, ...]:
    """The figure of each part; `measure` gets the indices of its units."""
    return tuple(
        Group(fact, value, len(index), measure(index) if len(index) >= smallest else None)
        for fact, values in parts(facts).items()
        for value, index in values.items()
    )
