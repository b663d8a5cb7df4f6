"""Slices that are missing inside a series, from the headers of what has arrived."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from study.study import Instance, Series

# Fewer slices show no rhythm.
SLICES_MIN = 6
# Share of the steps that must be the usual one before the others are taken for holes.
_REGULAR_SHARE = 0.8
_TOLERANCE = 0.1
# The longest pauses of a study that are looked at; shorter ones matter to nobody.
_PAUSES_MAX = 8
_PAUSE_MIN_S = 3.0


def longest_pause_s(
    arrived: Sequence[tuple[float, str, Instance]], pause_max_s: float, broken_s: Sequence[float] = ()
) -> float:
    """The longest pause between two instances that no hole in a series gave away, nor longer than `pause_max_s`.

    arrived: seconds, Series Instance UID and headers of each instance, in order of time. A hole is waited for, so what
    a sender does while there is one says nothing of how long silence must last when there is none. broken_s: when
    associations broke off; what follows is no pause of this kind either.
    """
    pauses = np.diff([at_s for at_s, _, _ in arrived])
    for position in np.argsort(pauses)[::-1][:_PAUSES_MAX]:
        is_pause = pauses[position] <= pause_max_s and not any(
            arrived[position][0] <= at_s < arrived[position + 1][0] for at_s in broken_s
        )
        if is_pause and (pauses[position] < _PAUSE_MIN_S or not _has_hole(arrived[: position + 1])):
            return float(pauses[position])
    return 0.0


def _has_hole(arrived: Sequence[tuple[float, str, Instance]]) -> bool:
    here: dict[str, list[Instance]] = {}
    for _, uid, instance in arrived:
        here.setdefault(uid, []).append(instance)
    return any(missing_slices(Series(uid, "", tuple(members))) for uid, members in here.items())


def missing_slices(series: Series) -> int:
    """How many slices a regular series lacks inside its range; 0 where no regularity shows a hole.

    Positions decide where the images have them (PS3.3 C.7.6.2.1.1); Instance Numbers where they have none, since many
    scanners number with holes.
    """
    images = [one for one in series.instances if one.number_of_frames == 1]
    placed = [
        one for one in images if one.image_position_mm is not None and one.image_orientation is not None
    ]
    if len(placed) >= SLICES_MIN and len(placed) == len(images):
        return _holes_along_the_normal(placed)
    numbers = {one.instance_number for one in images if one.instance_number is not None}
    if len(numbers) < SLICES_MIN or len(numbers) != len(images):
        return 0
    return _holes(np.array(sorted(numbers), dtype=float), step=1.0)


def _holes_along_the_normal(images: list[Instance]) -> int:
    orientations = np.array([one.image_orientation for one in images], dtype=float)
    if np.abs(orientations - orientations[0]).max() > 1e-3:
        return 0  # a localizer, a radial stack: no one direction
    normal = np.cross(orientations[0, :3], orientations[0, 3:])
    places = Counter(
        float(np.round(np.array(one.image_position_mm, dtype=float) @ normal, 2)) for one in images
    )
    missing = _holes(np.array(sorted(places)))
    # A dynamic or multi-echo series has each place as often as any other.
    usual, share = Counter(places.values()).most_common(1)[0]
    if usual > 1 and share >= _REGULAR_SHARE * len(places):
        missing = missing * usual + sum(max(0, usual - seen) for seen in places.values())
    return missing


def _holes(places: np.ndarray, step: float | None = None) -> int:
    """Steps that are a whole multiple of the usual one, in a row that is otherwise regular."""
    if len(places) < SLICES_MIN:
        return 0
    steps = np.diff(places)
    usual = float(np.median(steps)) if step is None else step
    if usual <= 0:
        return 0
    multiples = steps / usual
    whole = np.rint(multiples)
    regular = (whole == 1) & (np.abs(multiples - 1) <= _TOLERANCE)
    irregular = (whole < 1) | (np.abs(multiples - whole) > _TOLERANCE * np.maximum(whole, 1))
    if regular.mean() < _REGULAR_SHARE or irregular.any():
        return 0
    missing = int((whole - 1).sum())
    return missing if missing <= len(places) else 0
