"""The model as it is served: graph, lungs' surface and lobes together, on phantoms and on a real scan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.infer import run_model
from inference.onnxruntime_endpoint import OnnxRuntimeEndpoint
from models.errors import LungsNotFound
from models.evaluation.dice import dice
from models.lung_ct_segmentation.evaluate import sample_of
from models.lung_ct_segmentation.lobes import NAMES
from models.lung_ct_segmentation.phantom import make_phantom
from models.lung_ct_segmentation.phantom_style import HELD_OUT
from models.registry import get_model
from study.answer import Answer
from study.volume import Volume

# TotalSegmentator's numbers of the lobes, in our order.
TOTAL_SEGMENTATOR = {12: 1, 13: 2, 14: 3, 10: 4, 11: 5}


@pytest.fixture(scope="module")
def endpoint() -> OnnxRuntimeEndpoint:
    return OnnxRuntimeEndpoint()


def _ask(volume: Volume, endpoint: OnnxRuntimeEndpoint) -> Answer:
    return run_model(get_model("lung_ct_segmentation"), volume, endpoint).answer


def _painted(answer: Answer, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    labels = np.zeros(shape, np.uint8)
    number = {name: label for label, name in NAMES.items()}
    for one in answer.structures:
        box = tuple(slice(o, o + n) for o, n in zip(one.segment.origin, one.segment.mask.shape, strict=True))
        labels[box][one.segment.mask] = number[one.label]
    return labels


def test_lobes_of_phantoms_that_were_not_trained_on(endpoint: OnnxRuntimeEndpoint) -> None:
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {name: [] for name in NAMES.values()}
    lungs = []
    for seed in (170_001, 170_002, 170_003):
        phantom = make_phantom(seed, style=HELD_OUT, grid_mm=2.5)
        noisy = phantom.voxels + rng.normal(0, 12, phantom.voxels.shape)
        phantom = replace(phantom, voxels=np.clip(np.rint(noisy), -1024, 3071).astype(np.int16))
        sample = sample_of(phantom, "test")
        assert isinstance(sample.image, Volume)
        labels = _painted(_ask(sample.image, endpoint), phantom.labels.shape)
        lungs.append(dice(labels > 0, phantom.labels > 0))
        for label, name in NAMES.items():
            found[name].append(dice(labels == label, phantom.labels == label))
    assert min(lungs) > 0.95
    assert np.mean([np.mean(values) for values in found.values()]) > 0.8, found


def _nifti(path: Path) -> NDArray[np.int16]:
    """Voxels that stand in (up, back, left)."""
    itk = pytest.importorskip("SimpleITK")
    image = itk.DICOMOrient(itk.ReadImage(str(path)), "LPS")
    return np.ascontiguousarray(itk.GetArrayFromImage(image)).clip(-1024, 3071).astype(np.int16)


def _standing(voxels: NDArray[np.int16], spacing_mm: float) -> Volume:
    affine = np.zeros((4, 4))
    affine[2, 0] = affine[1, 1] = affine[0, 2] = spacing_mm
    affine[3, 3] = 1
    uids = tuple(f"1.2.{number + 1}" for number in range(len(voxels)))
    return Volume(voxels, affine, uids, (1,) * len(uids), "1.2.3", "1.2.4")


def test_the_bases_of_real_lungs_on_a_scan_of_the_abdomen(
    shared_data: Path, endpoint: OnnxRuntimeEndpoint
) -> None:
    """The reference is TotalSegmentator's own output; 117 ml of lung lie above bowel full of gas."""
    volume = _standing(_nifti(shared_data / "nifti_sources" / "example_ct_sm.nii.gz"), 3.0)
    known = np.zeros(256, np.uint8)
    for theirs, ours in TOTAL_SEGMENTATOR.items():
        known[theirs] = ours
    truth = known[_nifti(shared_data / "nifti_sources" / "example_seg.nii.gz")]
    answer = _ask(volume, endpoint)
    labels = _painted(answer, truth.shape)
    assert dice(labels > 0, truth > 0) > 0.85
    assert dice(labels == 3, truth == 3) > 0.8
    assert dice(labels == 5, truth == 5) > 0.75
    assert any("cut at the superior edge" in note for note in answer.notes)


def test_an_abdomen_has_no_lungs(shared_data: Path, endpoint: OnnxRuntimeEndpoint) -> None:
    voxels = _nifti(shared_data / "nifti_sources" / "example_ct_sm.nii.gz")[:16]
    with pytest.raises(LungsNotFound):
        _ask(_standing(voxels, 3.0), endpoint)
