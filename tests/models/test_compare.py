"""A chest and an earlier one of it: moved, breathed, with nodules that grew by a known factor, came and went."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from models.compare import compare
from models.lung_nodule_ct.phantom import make_phantom
from models.ops.characterise import Detection, characterise
from models.ops.lung_mask import find_lungs
from models.ops.register import NotAligned, register
from study.answer import Answer
from study.findings import Finding
from study.nodule import Trend
from study.volume import Volume

SPACING = (1.5, 1.0, 1.0)
NOW, THEN = "20260601", "20251201"  # 182 days

Nodules = Mapping[str, tuple[tuple[float, float, float], float]]


@pytest.fixture(scope="module")
def chest() -> NDArray[np.int16]:
    """A chest without nodules: 1.5 mm slices of 1 mm pixels."""
    return make_phantom(11, spacing_mm=SPACING, nodule_count=0).voxels


@pytest.fixture(scope="module")
def places(chest: NDArray[np.int16]) -> list[tuple[float, float, float]]:
    """Voxels deep in the lungs and far from one another."""
    lungs = find_lungs(chest, SPACING)
    assert lungs is not None
    inside = np.repeat(np.repeat(np.repeat(lungs.mask, 2, 0), 3, 1), 3, 2)[
        tuple(slice(0, n) for n in chest.shape)
    ]
    calm = ndimage.uniform_filter((chest < -700).astype(np.float32), 7) > 0.98
    deep = ndimage.distance_transform_edt(inside & calm, SPACING)
    deep[:30], deep[-40:] = 0, 0
    found: list[tuple[float, float, float]] = []
    while len(found) < 4:
        z, y, x = (int(value) for value in np.unravel_index(int(deep.argmax()), deep.shape))
        found.append((float(z), float(y), float(x)))
        deep[max(0, z - 25) : z + 25, max(0, y - 35) : y + 35, max(0, x - 35) : x + 35] = 0
    return found


def with_nodules(chest: NDArray[np.int16], nodules: Nodules) -> NDArray[np.int16]:
    voxels = chest.astype(np.float32)
    for center, diameter in nodules.values():
        grid = np.ogrid[tuple(slice(0, length) for length in voxels.shape)]
        distance = np.sqrt(sum(((g - c) * s) ** 2 for g, c, s in zip(grid, center, SPACING, strict=True)))
        share = np.clip(diameter / 2 - distance + 0.5, 0, 1)
        voxels += (30 - voxels) * share
    return np.rint(voxels).astype(np.int16)


def volume_of(
    voxels: NDArray[np.int16], uid: str, shift_mm: tuple[float, float, float] = (0, 0, 0)
) -> Volume:
    affine = np.array([[0, 0, 1, -160], [0, 1, 0, -128], [1.5, 0, 0, -300], [0, 0, 0, 1]], np.float64)
    affine[:3, 3] += shift_mm
    count = voxels.shape[0]
    return Volume(
        voxels, affine, tuple(f"{uid}.{n + 1}" for n in range(count)), (1,) * count, uid, "1.9", 1.5
    )


def breathed(voxels: NDArray[np.int16], depth_mm: float) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    """The chest with its base lower by `depth_mm`, less and less towards the top; and each slice's new index."""
    count = voxels.shape[0]
    new = np.arange(count, dtype=np.float64)
    moved = (
        new
        - depth_mm / SPACING[0] * (1 - new / count) ** 1.5 * np.sin(np.pi * np.clip(new / count, 0, 1)) ** 0.3
    )
    source = np.interp(new, moved, np.arange(count))
    low = np.floor(source).astype(int)
    share = (source - low)[:, None, None].astype(np.float32)
    high = np.minimum(low + 1, count - 1)
    return np.rint(voxels[low] * (1 - share) + voxels[high] * share).astype(np.int16), moved


def answer_of(volume: Volume, nodules: Nodules, slices: NDArray[np.float64] | None = None) -> Answer:
    """What a perfect model would say."""
    findings: list[Finding] = []
    for number, ((z, y, x), diameter) in enumerate(nodules.values(), start=1):
        row = z if slices is None else float(np.interp(z, np.arange(len(slices)), slices))
        findings.append(characterise(volume, Detection((row, y, x), diameter, 0.9), number))
    return Answer(tuple(findings))


@pytest.mark.parametrize("depth_mm", [0.0, 15.0])
def test_grown_new_and_resolved_nodules_are_told_in_a_chest_that_moved_and_breathed(
    chest: NDArray[np.int16], places: list[tuple[float, float, float]], depth_mm: float
) -> None:
    then = {"grows": (places[0], 8.0), "stays": (places[1], 10.0), "goes": (places[3], 9.0)}
    now = {"grows": (places[0], 8.0 * math.cbrt(2)), "stays": (places[1], 10.0), "comes": (places[2], 9.0)}
    old, slices = breathed(with_nodules(chest, then), depth_mm)
    current, prior = volume_of(with_nodules(chest, now), "1.1"), volume_of(old, "1.2", (17, -22, 140))
    before = answer_of(prior, then, slices)
    done = compare(answer_of(current, now), current, before, prior, date=NOW, prior_date=THEN)
    grown, same, new = (finding.comparison for finding in done.findings)
    assert grown is not None
    assert same is not None
    assert new is not None
    assert [grown.state, same.state, new.state] == ["matched", "matched", "new"]
    assert [grown.tracking_uid, same.tracking_uid] == [one.tracking_uid for one in before.findings[:2]]
    kept = [finding.tracking_uid for finding in done.findings[:2]]
    assert kept == [one.tracking_uid for one in before.findings[:2]], "one nodule, one identifier over time"
    assert grown.growth is not None
    assert same.growth is not None
    assert grown.growth.trend is Trend.GROWN
    assert grown.growth.doubling_days == pytest.approx(182, rel=0.2)
    low, high = grown.growth.doubling_days_interval or (0.0, 0.0)
    assert low < 182 < (high or math.inf)
    assert same.growth.trend is Trend.UNCHANGED
    assert new.mean_diameter_mm is None
    assert done.prior is not None
    assert (done.prior.study_date, done.prior.days) == (THEN, 182)
    assert [one.tracking_uid for one in done.prior.resolved] == [before.findings[2].tracking_uid]
    truth = current.to_lps_mm(np.array(places[3]))
    assert done.prior.resolved[0].center_lps_mm == pytest.approx(tuple(truth), abs=4.0)


def test_a_nodule_that_the_model_missed_in_the_prior_is_measured_there_and_not_called_new(
    chest: NDArray[np.int16], places: list[tuple[float, float, float]]
) -> None:
    nodules = {"missed": (places[0], 10.0)}
    voxels = with_nodules(chest, nodules)
    current, prior = volume_of(voxels, "1.1"), volume_of(voxels, "1.2", (5, 5, 30))
    done = compare(answer_of(current, nodules), current, Answer(), prior, date=NOW, prior_date=THEN)
    comparison = done.findings[0].comparison
    assert comparison is not None
    assert (comparison.state, comparison.was_marked, comparison.tracking_uid) == ("matched", False, None)
    assert comparison.volume_mm3 == pytest.approx(done.findings[0].volume_mm3, rel=0.02)


def test_a_place_that_the_prior_does_not_cover_is_not_compared(
    chest: NDArray[np.int16], places: list[tuple[float, float, float]]
) -> None:
    nodules = {"at the top": ((float(chest.shape[0]) - 30, *places[0][1:]), 8.0)}
    current = volume_of(with_nodules(chest, nodules), "1.1")
    prior = volume_of(np.ascontiguousarray(chest[: chest.shape[0] - 45]), "1.2")
    done = compare(answer_of(current, nodules), current, Answer(), prior, date=NOW, prior_date=THEN)
    assert done.findings[0].comparison is None
    assert "it was not compared" in done.notes[-1]


def test_a_prior_that_cannot_be_laid_upon_the_scan_is_a_note(
    chest: NDArray[np.int16], places: list[tuple[float, float, float]]
) -> None:
    nodules = {"one": (places[0], 10.0)}
    current = volume_of(with_nodules(chest, nodules), "1.1")
    upside_down = volume_of(np.ascontiguousarray(chest[::-1]), "1.2")
    answer = answer_of(current, nodules)
    done = compare(answer, current, answer, upside_down, date=NOW, prior_date=THEN)
    assert done == replace(answer, notes=done.notes)
    assert "Not compared with the prior study" in done.notes[0]
    with pytest.raises(NotAligned):
        register(current, volume_of(np.full((60, 64, 64), 40, np.int16), "1.3"))


def test_without_a_finding_then_and_now_nothing_is_aligned(chest: NDArray[np.int16]) -> None:
    volume = volume_of(chest, "1.1")
    done = compare(Answer(), volume, Answer(), volume, date=NOW, prior_date="")
    assert done.prior is not None
    assert (done.prior.days, done.prior.resolved) == (None, ())
