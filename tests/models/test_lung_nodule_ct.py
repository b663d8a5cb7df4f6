from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import LungsNotFound, VolumeTooThin
from models.lung_nodule_ct.postprocess import FINDINGS_MAX, detections, postprocess
from models.lung_nodule_ct.preprocess import SLAB_OVERLAP, LungBox, cut_into_slabs, preprocess

Make = Callable[..., Any]


def chest(spacing: tuple[float, float, float] = (2.0, 2.0, 2.0)) -> np.ndarray:
    """Two lungs with smooth texture in a body, given at a spacing."""
    shape = tuple(int(n / s) for n, s in zip((160, 200, 280), spacing, strict=True))
    z, y, x = (g * s for g, s in zip(np.ogrid[tuple(slice(0, n) for n in shape)], spacing, strict=True))
    voxels = np.full(shape, -1000, np.int16)
    voxels[(np.abs(y - 100) < 80) & (np.abs(x - 140) < 120) & (z >= 0)] = 40
    for middle in (80, 200):
        voxels[((z - 80) / 65) ** 2 + ((y - 100) / 60) ** 2 + ((x - middle) / 42) ** 2 < 1] = -850
    return voxels


def outputs(scores: list[float], centers: list[tuple[float, float, float]]) -> dict[str, np.ndarray]:
    count = len(scores)
    return {
        "scores": np.array(scores, np.float32)[None],
        "centers": np.array(centers, np.float32).reshape(1, count, 3),
        "diameters": np.full((1, count), 8, np.float32),
    }


def test_the_graph_reads_the_lungs_at_one_millimetre(make_volume: Make) -> None:
    spacing = (2.5, 1.5, 1.5)
    prepared = preprocess(make_volume(chest(spacing), spacing), (1.0, 1.0, 1.0))
    assert isinstance(prepared.context, LungBox)
    voxels = prepared.batches[0]["hounsfield"]
    assert voxels.dtype == np.int16
    assert all(side % 16 == 0 for side in voxels.shape[1:])
    lungs_ml = (voxels < -500).sum() / 1000
    assert lungs_ml == pytest.approx(2 * 4 / 3 * np.pi * 6.5 * 6.0 * 4.2, rel=0.05)


def test_a_point_of_the_graphs_grid_is_found_again_in_the_patient(make_volume: Make) -> None:
    spacing = (2.5, 1.5, 1.5)
    volume = make_volume(chest(spacing), spacing)
    box = preprocess(volume, (1.0, 1.0, 1.0)).context
    assert isinstance(box, LungBox)
    wanted = np.array([30.0, 60.0, 50.0])
    place = (wanted - box.start_index) / box.step
    found = detections(outputs([0.9], [tuple(place)]), box, volume, 0.5)
    assert found[0].center_index == pytest.approx(tuple(wanted), abs=1e-3)


def test_marks_outside_the_lungs_or_below_the_threshold_are_dropped(make_volume: Make) -> None:
    volume = make_volume(chest(), (2.0, 2.0, 2.0))
    box = preprocess(volume, (1.0, 1.0, 1.0)).context
    assert isinstance(box, LungBox)
    places = [(np.array(p) - box.start_index) / box.step for p in ((40, 50, 40), (40, 50, 100), (40, 12, 8))]
    scores = [0.9, 0.2, 0.95]
    found = detections(outputs(scores, [tuple(p) for p in places]), box, volume, 0.5)
    assert [round(one.score, 2) for one in found] == [0.9]


def test_at_most_twenty_findings_are_shown_best_first(make_volume: Make) -> None:
    volume = make_volume(chest(), (2.0, 2.0, 2.0))
    box = preprocess(volume, (1.0, 1.0, 1.0)).context
    assert isinstance(box, LungBox)
    centers = [(40 + 2 * dz, 40 + 8 * dy, 30 + 8 * dx) for dz in (0, 8) for dy in range(4) for dx in range(4)]
    places = [tuple((np.array(c) - box.start_index) / box.step) for c in centers]
    scores = list(np.linspace(0.5, 0.99, len(places)))
    findings = postprocess(outputs(scores, places), box, volume, 0.4)
    assert len(findings) == FINDINGS_MAX
    assert [f.id for f in findings] == list(range(1, FINDINGS_MAX + 1))
    assert [f.score for f in findings] == sorted((f.score for f in findings), reverse=True)


def test_a_volume_without_lungs_is_refused_by_name(make_volume: Make) -> None:
    with pytest.raises(LungsNotFound, match="no lungs"):
        preprocess(make_volume(np.full((60, 64, 64), 30, np.int16), (2.0, 2.0, 2.0)), (1.0, 1.0, 1.0))


def test_a_few_slices_are_refused_by_name(make_volume: Make) -> None:
    with pytest.raises(VolumeTooThin, match="18 mm"):
        preprocess(make_volume(chest()[:10], (2.0, 2.0, 2.0)), (1.0, 1.0, 1.0))


@settings(max_examples=100, deadline=None)
@given(
    shape=st.tuples(*[st.integers(2, 40).map(lambda n: 16 * n)] * 3),
    limit=st.integers(2_000_000, 30_000_000),
)
def test_slabs_cover_every_slice_once_and_overlap(shape: tuple[int, int, int], limit: int) -> None:
    slabs = cut_into_slabs(shape, limit)
    kept = [z for slab in slabs for z in range(*slab.keep)]
    assert kept == list(range(shape[0]))
    for slab in slabs:
        assert slab.first <= slab.keep[0]
        assert slab.keep[1] <= slab.first + slab.depth <= shape[0]
        assert slab.depth % 16 == 0
    for above, below in zip(slabs[1:], slabs[:-1], strict=True):
        assert below.first + below.depth - above.first >= SLAB_OVERLAP


def test_a_large_mass_in_the_lung_is_inside_although_its_middle_is_far_from_air(make_volume: Make) -> None:
    voxels = chest()
    z, y, x = np.ogrid[0 : voxels.shape[0], 0 : voxels.shape[1], 0 : voxels.shape[2]]
    voxels[(z - 40) ** 2 + (y - 50) ** 2 + (x - 40) ** 2 < 8**2] = 40  # 32 mm wide
    volume = make_volume(voxels, (2.0, 2.0, 2.0))
    box = preprocess(volume, (1.0, 1.0, 1.0)).context
    assert isinstance(box, LungBox)
    place = (np.array([40.0, 50.0, 40.0]) - box.start_index) / box.step
    answer = outputs([0.9], [tuple(place)]) | {"diameters": np.array([[31.0]], np.float32)}
    assert len(detections(answer, box, volume, 0.5)) == 1


@pytest.mark.parametrize(
    ("column_mm", "width_mm", "kept"),
    [(80, 40, True), (140, 30, False), (118, 40, True), (130, 20, True)],
    ids=["in a lung", "between the lungs", "at the hilum", "a nodule between the lungs"],
)
def test_a_mass_with_little_lung_around_it_is_not_marked(
    make_volume: Make, column_mm: float, width_mm: float, kept: bool
) -> None:
    """The lungs of `chest` end 18 mm beside the middle, at 140 mm; a nodule need only touch them."""
    volume = make_volume(chest(), (2.0, 2.0, 2.0))
    box = preprocess(volume, (1.0, 1.0, 1.0)).context
    assert isinstance(box, LungBox)
    place = (np.array([40.0, 50.0, column_mm / 2]) - box.start_index) / box.step
    answer = outputs([0.9], [tuple(place)]) | {"diameters": np.array([[width_mm]], np.float32)}
    assert len(detections(answer, box, volume, 0.5)) == kept
