"""With the truth in the graph's place, what is around the graph must give the truth back."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from models.evaluation.dice import dice
from models.lung_ct_segmentation.clean_labels import clean_labels
from models.lung_ct_segmentation.lobes import NAMES
from models.lung_ct_segmentation.phantom import Phantom, make_phantom
from models.lung_ct_segmentation.phantom_style import TRAIN
from models.lung_ct_segmentation.postprocess import postprocess
from models.lung_ct_segmentation.preprocess import LungBox, preprocess
from models.ops.orientation import orientation_of
from study.answer import Answer
from study.volume import Volume

# Row and column directions in LPS of the ways in which a patient may lie on the table.
POSITIONS = {
    "head first, on the back": ((1, 0, 0), (0, 1, 0)),
    "on the belly": ((-1, 0, 0), (0, -1, 0)),
    "mirrored rows, slices from the head down": ((-1, 0, 0), (0, 1, 0)),
    "on the side": ((0, 1, 0), (-1, 0, 0)),
}


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(21, style=TRAIN, grid_mm=2.5)


def _volume(
    voxels: NDArray[np.int16], spacing_mm: float, row: tuple[int, ...], column: tuple[int, ...]
) -> Volume:
    """A volume with these directions of rows and columns, from one that stands in (up, back, left)."""
    normal = np.cross(row, column)
    directions = np.stack([normal, np.array(column), np.array(row)], axis=1).astype(np.float64)
    standing = voxels  # axes are patient z, y, x
    order = [2 - int(np.argmax(np.abs(directions[:, axis]))) for axis in range(3)]
    turned = standing.transpose(order)
    flips = tuple(slice(None, None, int(np.sign(directions[:, axis].sum()))) for axis in range(3))
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing_mm
    turned = np.ascontiguousarray(turned[flips])
    uids = tuple(f"1.2.{number + 1}" for number in range(len(turned)))
    return Volume(turned, affine, uids, (1,) * len(uids), "1.2.3", "1.2.4")


def _answer(volume: Volume, truth: Volume) -> tuple[Answer, NDArray[np.uint8]]:
    """What the model says when the graph says the truth, and the labels that it painted."""
    box = preprocess(volume, (3.0, 3.0, 3.0)).context
    assert isinstance(box, LungBox)
    labels = box.orientation.apply(truth.voxels)
    places = [
        np.clip(np.rint(start + step * np.arange(count)).astype(int), 0, length - 1)
        for start, step, count, length in zip(box.start_index, box.step, box.shape, labels.shape, strict=True)
    ]
    answer = postprocess(labels[np.ix_(*places)].astype(np.uint8), box, volume)
    painted = np.zeros(volume.voxels.shape, np.uint8)
    number = {name: label for label, name in NAMES.items()}
    for structure in answer.structures:
        mask, origin = structure.segment.mask, structure.segment.origin
        part = tuple(slice(start, start + size) for start, size in zip(origin, mask.shape, strict=True))
        painted[part][mask] = number[structure.label]
    return answer, painted


@pytest.mark.parametrize("position", POSITIONS)
def test_lobes_come_back_whole_however_the_patient_lies(phantom: Phantom, position: str) -> None:
    row, column = POSITIONS[position]
    volume = _volume(phantom.voxels, 2.5, row, column)
    truth = _volume(phantom.labels.astype(np.int16), 2.5, row, column)
    answer, painted = _answer(volume, truth)
    assert [one.label for one in answer.structures] == list(NAMES.values())
    for label, structure in zip(NAMES, answer.structures, strict=True):
        mine, true = painted == label, truth.voxels == label
        assert dice(mine, true) > 0.93, structure.label
        assert structure.volume_ml == pytest.approx(mine.sum() * 2.5**3 / 1000)
        assert structure.mean_hu == pytest.approx(volume.voxels[mine].mean())
        assert structure.low_attenuation_share == pytest.approx((volume.voxels[mine] < -950).mean())
    assert answer.notes == ()


def test_half_a_chest_gives_what_is_there_and_says_where_it_is_cut(phantom: Phantom) -> None:
    upright = POSITIONS["head first, on the back"]
    half = len(phantom.voxels) // 2
    for part, place in ((slice(half, None), "inferior"), (slice(None, half), "superior")):
        volume = _volume(phantom.voxels[part], 2.5, *upright)
        answer, _ = _answer(volume, _volume(phantom.labels[part].astype(np.int16), 2.5, *upright))
        assert f"The lungs are cut at the {place} edge" in answer.notes[0]
        assert answer.structures


def test_a_lobe_that_is_not_there_is_named_as_not_found(phantom: Phantom) -> None:
    upright = POSITIONS["head first, on the back"]
    labels = np.where(phantom.labels == 2, 1, phantom.labels).astype(np.int16)
    answer, _ = _answer(_volume(phantom.voxels, 2.5, *upright), _volume(labels, 2.5, *upright))
    assert "Not found: right middle lobe." in answer.notes
    assert len(answer.structures) == 4


def test_stray_pieces_join_their_surroundings_and_holes_are_filled() -> None:
    labels = np.zeros((30, 30, 30), np.uint8)
    labels[5:25, 5:15, 5:25] = 1
    labels[5:25, 15:25, 5:25] = 3
    labels[10:13, 7:10, 7:10] = 3  # an island of the lower lobe in the upper one
    labels[14:17, 10:12, 14:16] = 0  # a nodule
    labels[1:3, 1:3, 1:3] = 5  # gas in the stomach
    labels[6:24, 5:15, 27:29] = 5
    labels[1:4, 26:30, 2:26] = 2  # air outside the body
    aired = np.zeros(labels.shape, np.bool_)
    aired[6:20, 6:24, 6:29] = True
    tissue = np.zeros(labels.shape, np.bool_)
    tissue[25:28, 15:25, 5:25] = True  # the recess below the lower lobe, which the graph did not see
    cleaned = clean_labels(labels, aired, tissue)
    assert (cleaned[5:25, 5:15, 5:25] == 1).all()
    assert (cleaned[5:25, 15:25, 5:25] == 3).all()
    assert (cleaned[25:28, 15:25, 5:25] == 3).all()
    assert cleaned[1:3, 1:3, 1:3].max() == 0
    assert not (cleaned == 2).any()


def test_orientation_is_undone_exactly() -> None:
    voxels = np.arange(2 * 3 * 4).reshape(2, 3, 4).astype(np.int16)
    for row, column in POSITIONS.values():
        volume = _volume(voxels, 1.0, row, column)
        orientation = orientation_of(volume.affine_mm)
        assert np.array_equal(orientation.apply(volume.voxels), voxels)
        assert np.array_equal(orientation.undo(orientation.apply(volume.voxels)), volume.voxels)
