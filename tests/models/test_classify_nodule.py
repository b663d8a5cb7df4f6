"""Kind, solid part, volume and axes of nodules whose truth is known; limits stand with room to the measured ones."""

from __future__ import annotations

import time
from functools import cache

import numpy as np
import pytest

from models.lung_nodule_ct.nodule_phantom import NodulePhantom, Place, make_nodule
from models.ops.characterise import Detection, characterise
from models.ops.lung_mask import find_lungs
from study.answer import Structure
from study.codes import LUNG
from study.findings import Finding, Segment
from study.nodule import NoduleKind
from study.volume import Volume


def volume_of(phantom: NodulePhantom) -> Volume:
    z, y, x = phantom.spacing_mm
    affine = np.array([[0, 0, x, 0], [0, y, 0, 0], [z, 0, 0, 0], [0, 0, 0, 1]], np.float64)
    count = phantom.voxels.shape[0]
    return Volume(
        phantom.voxels, affine, tuple(f"1.2.{n + 1}" for n in range(count)), (1,) * count, "1.2", "1.3", z
    )


@cache
def measured(
    seed: int, kind: str, diameter: float, place: Place = "free", slice_mm: float = 1.0
) -> tuple[NodulePhantom, Finding]:
    """A phantom, and what is measured of it from a place and a size that are a little wrong."""
    phantom = make_nodule(seed, kind, diameter, spacing_mm=(slice_mm, 0.7, 0.7), place=place)
    z, y, x = phantom.center_index
    detection = Detection((z + 0.3, y - 0.4, x + 0.3), phantom.truth.diameter_mm * 1.06, 0.9)
    return phantom, characterise(volume_of(phantom), detection, 1)


@pytest.mark.parametrize("kind", list(NoduleKind))
@pytest.mark.parametrize("place", ["free", "pleural", "vessel"])
def test_the_kind_of_a_nodule_is_told(kind: NoduleKind, place: Place) -> None:
    _, finding = measured(500, kind.value, 12.0, place)
    assert finding.nodule is not None
    assert finding.nodule.kind is kind
    assert (finding.nodule.solid_part_mm is not None) == (kind is NoduleKind.PART_SOLID)


@pytest.mark.parametrize("kind", list(NoduleKind))
@pytest.mark.parametrize("place", ["free", "pleural", "vessel"])
def test_volume_and_diameter_are_those_of_the_nodule_alone(kind: NoduleKind, place: Place) -> None:
    phantom, finding = measured(500, kind.value, 12.0, place)
    truth = phantom.truth
    assert finding.volume_mm3 == pytest.approx(truth.volume_mm3, rel=0.25)
    assert finding.mean_diameter_mm == pytest.approx((truth.long_axis_mm + truth.short_axis_mm) / 2, abs=1.2)


@pytest.mark.parametrize("seed", [500, 501, 502])
def test_the_solid_part_of_a_part_solid_nodule_is_measured(seed: int) -> None:
    phantom, finding = measured(seed, "part_solid", 16.0)
    assert finding.nodule is not None
    assert finding.nodule.solid_part_mm is not None
    assert phantom.truth.solid_part_mm is not None
    assert finding.nodule.solid_part_long_axis_mm is not None
    assert finding.nodule.solid_part_mm == pytest.approx(phantom.truth.solid_part_mm, abs=1.2)
    assert finding.nodule.solid_part_mm <= finding.nodule.solid_part_long_axis_mm < finding.long_axis_mm


def test_a_core_of_a_twentieth_of_the_nodule_does_not_hide_its_ground_glass() -> None:
    phantom, finding = measured(20_001, "part_solid", 20.0)
    assert finding.nodule is not None
    assert finding.nodule.kind is NoduleKind.PART_SOLID
    assert finding.volume_mm3 == pytest.approx(phantom.truth.volume_mm3, rel=0.15)


def test_a_small_faint_nodule_on_thick_slices_has_no_kind_rather_than_a_wrong_one() -> None:
    _, finding = measured(500, "ground_glass", 7.0, slice_mm=5.0)
    assert finding.nodule is not None
    assert finding.nodule.kind is None


def test_a_mass_of_80_mm_at_the_wall_is_measured_in_bounded_time() -> None:
    phantom = make_nodule(7, "part_solid", 80.0, spacing_mm=(1.0, 0.7, 0.7), place="pleural")
    started = time.process_time()
    finding = characterise(volume_of(phantom), Detection(phantom.center_index, 80.0, 0.9), 1)
    assert time.process_time() - started < 4.0  # about 0.6 s; a grid of 14 million voxels would take 10
    assert finding.volume_mm3 == pytest.approx(phantom.truth.volume_mm3, rel=0.15)


def test_the_same_input_gives_the_same_finding() -> None:
    phantom, finding = measured(500, "part_solid", 12.0, "pleural")
    z, y, x = phantom.center_index
    again = characterise(
        volume_of(phantom), Detection((z + 0.3, y - 0.4, x + 0.3), phantom.truth.diameter_mm * 1.06, 0.9), 1
    )
    assert again.as_json() == finding.as_json()


def test_a_nodule_lies_in_the_lobe_that_holds_most_of_it() -> None:
    phantom, _ = measured(500, "solid", 12.0)
    shape = phantom.voxels.shape
    half = int(phantom.center_index[0]) + 3
    lower, upper = np.ones((half, *shape[1:]), np.bool_), np.ones((shape[0] - half, *shape[1:]), np.bool_)
    lobes = [
        Structure("right lower lobe", LUNG, Segment(lower, (0, 0, 0)), 1.0, -850.0, "2.25.1"),
        Structure("right upper lobe", LUNG, Segment(upper, (half, 0, 0)), 1.0, -850.0, "2.25.2"),
        Structure("trachea", LUNG, Segment(np.ones(shape, np.bool_), (0, 0, 0)), 1.0, -850.0, "2.25.3"),
    ]
    finding = characterise(volume_of(phantom), Detection(phantom.center_index, 12.0, 0.9), 1, lobes=lobes)
    assert finding.nodule is not None
    assert finding.nodule.lobe == "right lower lobe"


def test_without_lobes_none_is_named() -> None:
    _, finding = measured(500, "solid", 12.0)
    assert finding.nodule is not None
    assert finding.nodule.lobe is None


@pytest.mark.parametrize(("depth_mm", "expected_mm"), [(0.0, 0.0), (20.0, 20.0), (40.0, 40.0)])
def test_the_distance_to_the_pleura_is_that_of_the_surface(depth_mm: float, expected_mm: float) -> None:
    voxels = np.full((100, 150, 150), 40, np.int16)
    voxels[5:-5, 10:-10, 10:-10] = -850
    center = (50.0, 75.0, 10.0 + depth_mm + 6.0)
    grid = np.ogrid[tuple(slice(0, length) for length in voxels.shape)]
    voxels[sum((g - c) ** 2 for g, c in zip(grid, center, strict=True)) <= 36.0] = 40
    volume = Volume(
        voxels, np.diag([1.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]], ("1.2.3",) * 100, (1,) * 100, "1.2", "1.3"
    )
    lungs = find_lungs(voxels, volume.spacing_mm)
    finding = characterise(volume, Detection(center, 12.0, 0.9), 1, lungs=lungs)
    assert finding.nodule is not None
    assert finding.nodule.pleura_distance_mm == pytest.approx(expected_mm, abs=3.0)
