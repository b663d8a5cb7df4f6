"""LIDC-IDRI-0314 against itself, moved, breathed and on thicker slices: its nodule is the same and has not changed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from models.compare import compare
from models.ops.characterise import Detection, characterise
from study.answer import Answer
from study.nodule import Trend
from study.volume import Volume
from tests.result_builders import read_source

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def volume(shared_data: Path) -> Volume:
    return read_source(shared_data / "ct_chest_lidc0314_1mm/dicom", pixels=True)[1]


@pytest.fixture(scope="module")
def nodule_lps_mm(shared_data: Path) -> np.ndarray:
    truth = json.loads((shared_data / "ct_chest_lidc0314_1mm/ground_truth.json").read_text())
    return np.array(truth["nodules"][0]["center_lps_mm"])


def prior_of(volume: Volume, share_of_slices: float, stretch: float) -> Volume:
    """The scan somewhere else on the table, with fewer slices, longer by `stretch`."""
    voxels = ndimage.zoom(volume.voxels, (share_of_slices, 1, 1), order=1)
    affine = volume.affine_mm.copy()
    affine[:3, 0] *= (volume.voxels.shape[0] - 1) / (voxels.shape[0] - 1) * stretch
    affine[:3, 3] += (25.0, -30.0, 180.0)
    count = voxels.shape[0]
    uids = tuple(f"1.9.{number + 1}" for number in range(count))
    return Volume(voxels, affine, uids, (1,) * count, "1.9", "1.8", abs(float(affine[2, 0])))


@pytest.mark.parametrize(("share_of_slices", "stretch"), [(1.0, 1.0), (0.4, 1.0), (0.4, 1.06)])
def test_the_nodule_is_found_again_and_has_not_changed(
    volume: Volume, nodule_lps_mm: np.ndarray, share_of_slices: float, stretch: float
) -> None:
    prior = prior_of(volume, share_of_slices, stretch)
    z, y, x = (float(value) for value in volume.to_index(nodule_lps_mm))
    scale = (prior.voxels.shape[0] - 1) / (volume.voxels.shape[0] - 1)
    now = characterise(volume, Detection((z, y, x), 15.5, 0.9), 1)
    then = characterise(prior, Detection((z * scale, y, x), 15.5, 0.9), 1)
    done = compare(Answer((now,)), volume, Answer((then,)), prior, date="20000101", prior_date="19990601")
    comparison = done.findings[0].comparison
    assert comparison is not None
    assert comparison.growth is not None
    assert (comparison.state, comparison.tracking_uid) == ("matched", then.tracking_uid)
    assert comparison.growth.trend is Trend.UNCHANGED
    assert abs(comparison.growth.change_percent) < 10
    assert done.prior is not None
    assert done.prior.resolved == ()
    probed = compare(Answer((now,)), volume, Answer(), prior, date="20000101", prior_date="19990601")
    assert probed.findings[0].comparison is not None
    assert (probed.findings[0].comparison.state, probed.findings[0].comparison.was_marked) == (
        "matched",
        False,
    )
    gone = compare(Answer(), volume, Answer((then,)), prior, date="20000101", prior_date="19990601")
    assert gone.prior is not None
    assert gone.prior.resolved == (), "what is still seen there is not gone, though it is not marked"
