"""Synthetic radiographs: the same seed gives the same picture, and a finding is where its mask says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.chest_radiograph import dataset
from models.chest_radiograph.phantom import Patient, make_patient, take_frontal
from models.chest_radiograph.phantom_body import HELD_OUT, TRAINING
from models.chest_radiograph.phantom_film import Projection
from models.chest_radiograph.phantom_others import MAKERS
from models.chest_radiograph.postprocess import FINDINGS


@pytest.fixture(scope="module")
def patient() -> Patient:
    return make_patient(np.random.default_rng(1), TRAINING)


def test_the_same_seed_gives_the_same_picture(patient: Patient) -> None:
    one, two = (
        take_frontal(np.random.default_rng(5), patient, frozenset({"nodule_or_mass"})) for _ in range(2)
    )
    np.testing.assert_array_equal(one.pixels, two.pixels)


def test_the_spine_is_bright_between_two_dark_lungs(patient: Patient) -> None:
    pixels = take_frontal(np.random.default_rng(2), patient, frozenset()).pixels
    strip = np.sort(pixels[100:160], axis=0)[30]
    middle, right, left = strip[134:154].mean(), strip[60:100].mean(), strip[188:228].mean()
    assert middle > right
    assert middle > left


@pytest.mark.parametrize("name", FINDINGS)
def test_a_finding_is_seen_where_its_mask_lies(patient: Patient, name: str) -> None:
    picture = take_frontal(np.random.default_rng(4), patient, frozenset({name}))
    assert picture.masks is not None
    assert picture.findings == {name}
    covered = picture.masks.mean(axis=(1, 2))
    assert covered[FINDINGS.index(name)] > 0
    assert covered.sum() == covered[FINDINGS.index(name)]


def test_a_point_and_a_voxel_at_its_place_are_projected_to_the_same_pixel() -> None:
    projection = Projection(shear=(0.05, -0.08), is_reversed=True)
    volume = np.zeros((144, 94, 164), np.float32)
    volume[80, 20, 100] = 1.0
    row, column = np.unravel_index(int(projection.volume(volume).argmax()), projection.shape)
    place, _ = projection.points(np.array([[240.0, 60.0, 300.0]]))
    assert abs(place[0, 0] - row) <= 3
    assert abs(place[0, 1] - column) <= 3


@pytest.mark.parametrize("kind", MAKERS)
def test_what_must_be_refused_can_be_made_too(patient: Patient, kind: str) -> None:
    picture = MAKERS[kind](np.random.default_rng(6), patient)
    assert picture.kind == kind
    assert picture.masks is None
    assert np.isfinite(picture.pixels).all()


def test_pictures_survive_the_disk_and_splits_share_no_seed(tmp_path: Path) -> None:
    pictures = [
        take_frontal(
            np.random.default_rng(9),
            make_patient(np.random.default_rng(8), HELD_OUT),
            frozenset({"cardiomegaly"}),
        )
    ]
    dataset.write(tmp_path / "test_300000.npz", pictures)
    batch = dataset.read(tmp_path, "test")
    assert batch.labels.tolist() == [[False, False, False, False, True, False]]
    assert batch.masks[0, 4].mean() == pytest.approx(pictures[0].masks[4].mean(), abs=0.02)  # type: ignore[index]
    assert batch.facts[0]["style"] == "held-out"
    firsts = sorted(dataset.FIRST_SEED.values())
    assert min(np.diff(firsts)) >= 100_000
