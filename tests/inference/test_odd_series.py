"""Odd series of one chest, as files: the right result, or a refusal that says why.

What is odd about a header alone is in `tests/pipeline/test_route.py`, about a file alone in
`tests/dicom_gateway/test_decode.py`, series of 1,000 and 5,000 slices in `tests/server/test_long_series.py`; here is
what must still be found, and where.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.uid import MRImageStorage
from scipy import ndimage

from dicom_gateway.decode import decode_series
from dicom_gateway.decode_errors import DecodeError
from dicom_gateway.inspect import inspect_study
from dicom_gateway.write_ct import write_ct_series
from inference.infer import InferenceResult, run_model
from inference.onnxruntime_endpoint import OnnxRuntimeEndpoint
from models.errors import UnfitInput
from models.lung_nodule_ct.phantom import make_phantom
from models.lung_nodule_ct.preprocess import preprocess
from models.registry import get_model
from pipeline.route import Route, choose
from study.volume import Volume

SPACING = (1.25, 1.0, 1.0)
# Of the five nodules of this phantom: the four of 6 mm and more.
SIZE_MIN_MM = 6.0
Points = NDArray[np.float64]


@pytest.fixture(scope="module")
def chest() -> tuple[NDArray[np.int16], Points]:
    """Voxels, and where the nodules are: (x, y, z) in mm for a series written with defaults."""
    phantom = make_phantom(11, spacing_mm=SPACING, nodule_count=5, field_mm=(150, 220, 300))
    large = [one for one in phantom.truth if one.diameter_mm >= SIZE_MIN_MM]
    assert len(large) == 4
    return phantom.voxels, np.array([np.array(one.center_index) * SPACING for one in large])[:, ::-1]


@pytest.fixture(scope="module")
def endpoint() -> OnnxRuntimeEndpoint:
    return OnnxRuntimeEndpoint(2)


@pytest.fixture
def analyse(tmp_path: Path, endpoint: OnnxRuntimeEndpoint) -> Callable[..., InferenceResult | str]:
    """From voxels to a result, or the code of the refusal, by way of files."""

    def run(
        voxels: NDArray[np.int16],
        spacing_mm: tuple[float, float, float] = SPACING,
        edit: Callable[[pydicom.Dataset, int], None] | None = None,
        **how: Any,
    ) -> InferenceResult | str:
        paths = write_ct_series(np.ascontiguousarray(voxels), spacing_mm, tmp_path / "in", **how)
        for number, path in enumerate(paths if edit else ()):
            dataset = pydicom.dcmread(path)
            assert edit is not None
            edit(dataset, number)
            dataset.save_as(path)
        study = inspect_study([(str(path), path) for path in paths]).study
        model = get_model("lung_nodule_ct")
        route = choose(study, model.manifest)
        if not isinstance(route, Route):
            return route.code
        try:
            series = study.series_of(route.series_instance_uid)
            return run_model(model, decode_series(series, Path("/"), tmp_path / "out"), endpoint)
        except (DecodeError, UnfitInput) as error:
            return error.code

    return run


def found(result: InferenceResult | str, places: Points, within_mm: float = 3.0) -> list[bool]:
    """Whether a finding lies at each place."""
    assert not isinstance(result, str), result
    centers = np.array([finding.center_lps_mm for finding in result.findings]).reshape(-1, 3)
    return [bool((np.linalg.norm(centers - place, axis=1) <= within_mm).any()) for place in places]


def test_prone(chest: tuple[NDArray[np.int16], Points], analyse: Callable[..., Any]) -> None:
    """The image is turned by half a turn, and its header says so: the same places in the patient."""
    voxels, places = chest
    corner = (float(voxels.shape[2] - 1), float(voxels.shape[1] - 1), 0.0)
    result = analyse(voxels[:, ::-1, ::-1], orientation=(-1, 0, 0, 0, -1, 0), origin_lps_mm=corner)
    assert all(found(result, places))


def test_feet_first(chest: tuple[NDArray[np.int16], Points], analyse: Callable[..., Any]) -> None:
    """Slices run from the head down and columns from left to right."""
    voxels, places = chest
    corner = (float(voxels.shape[2] - 1), 0.0, (voxels.shape[0] - 1) * SPACING[0])
    result = analyse(voxels[::-1, :, ::-1], orientation=(-1, 0, 0, 0, 1, 0), origin_lps_mm=corner)
    assert all(found(result, places))


def test_on_the_side(chest: tuple[NDArray[np.int16], Points], analyse: Callable[..., Any]) -> None:
    """Rows run to the back, and columns, from the top of the image to its bottom, to the right of the patient."""
    voxels, places = chest
    corner = (float(voxels.shape[2] - 1), 0.0, 0.0)
    result = analyse(
        voxels[:, :, ::-1].transpose(0, 2, 1), orientation=(0, 1, 0, -1, 0, 0), origin_lps_mm=corner
    )
    assert all(found(result, places))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_graph_sees_the_patient_upright_however_the_slices_were_stored(
    chest: tuple[NDArray[np.int16], Points], axis: int
) -> None:
    """The detector knows no other chest: turned ones gave other marks of masses and lower scores."""
    voxels, _ = chest
    affine = np.array([[0, 0, 1.0, 0], [0, 1.0, 0, 0], [1.25, 0, 0, 0], [0, 0, 0, 1.0]])
    turned = affine.copy()
    turned[:3, 3] += turned[:3, axis] * (voxels.shape[axis] - 1)
    turned[:3, axis] *= -1
    seen = [
        preprocess(Volume(one, place, ("",) * len(one), (1,) * len(one), "1.2", "1.3"), (1.0, 1.0, 1.0))
        for one, place in ((voxels, affine), (np.flip(voxels, axis), turned))
    ]
    before, after = (one.batches[0]["hounsfield"][0].astype(np.float64) for one in seen)
    # Lungs are looked for on every third voxel, so that the box may begin a few millimetres elsewhere.
    sides = [min(one, other) // 2 for one, other in zip(before.shape, after.shape, strict=True)]
    inner = tuple(slice(side // 2, side // 2 + side) for side in sides)
    offsets = [
        (np.abs(after[inner] - ndimage.shift(before, shift, order=0)[inner]).mean(), shift)
        for shift in [tuple(step if one == axis else 0 for one in range(3)) for step in range(-4, 5)]
    ]
    assert min(offsets)[0] < 0.2 * max(offsets)[0]


def test_pixels_that_are_not_square(
    chest: tuple[NDArray[np.int16], Points], analyse: Callable[..., Any]
) -> None:
    voxels, places = chest
    assert all(found(analyse(voxels[:, :, ::2], (1.25, 1.0, 2.0)), places))


def test_slices_of_5_mm(chest: tuple[NDArray[np.int16], Points], analyse: Callable[..., Any]) -> None:
    voxels, places = chest
    thick = ndimage.uniform_filter1d(voxels, 4, axis=0)[::4]
    assert all(found(analyse(thick, (5.0, 1.0, 1.0)), places, within_mm=4.0))


def test_slices_of_0_3_mm(chest: tuple[NDArray[np.int16], Points], analyse: Callable[..., Any]) -> None:
    voxels, places = chest
    thin = ndimage.zoom(voxels, ((len(voxels) - 1) * 1.25 / 0.3 / len(voxels), 1, 1), order=1)
    places = places * [1, 1, (len(thin) - 1) * 0.3 / ((len(voxels) - 1) * 1.25)]
    assert all(found(analyse(thin, (0.3, 1.0, 1.0)), places))


def test_a_tilted_gantry(chest: tuple[NDArray[np.int16], Points], analyse: Callable[..., Any]) -> None:
    """The same pixels under a header that tilts them: each place goes where its own slice says."""
    voxels, places = chest
    cosine, sine = math.cos(math.radians(15)), math.sin(math.radians(15))

    def tilt(dataset: pydicom.Dataset, number: int) -> None:
        dataset.GantryDetectorTilt = 15
        dataset.ImageOrientationPatient = [1, 0, 0, 0, cosine, -sine]

    result = analyse(voxels, edit=tilt)
    assert not isinstance(result, str)
    moved = places * [1, cosine, 1] - np.outer(places[:, 1] * sine, [0, 0, 1])
    assert all(found(result, moved, within_mm=4.0))


def test_metal(chest: tuple[NDArray[np.int16], Points], analyse: Callable[..., Any]) -> None:
    voxels, places = chest
    with_metal = voxels.copy()
    with_metal[50:70, 95:110, 150:156] = 3071
    with_metal[60:64, 100:104, :] = 3071
    result = analyse(with_metal)
    assert all(found(result, places))
    assert len(result.findings) <= len(places) + 3


def test_half_a_chest_says_that_the_other_half_was_not_assessed(
    chest: tuple[NDArray[np.int16], Points], analyse: Callable[..., Any]
) -> None:
    voxels, places = chest
    middle = voxels.shape[2] // 2
    result = analyse(voxels[:, :, :middle])
    assert found(result, places) == [bool(x < middle) for x in places[:, 0]]
    assert any("cut at the left edge" in note for note in result.answer.notes)


def test_the_lower_lungs_alone_say_so(
    chest: tuple[NDArray[np.int16], Points], analyse: Callable[..., Any]
) -> None:
    voxels, places = chest
    result = analyse(voxels[:40])
    assert [hit for hit, place in zip(found(result, places), places, strict=True) if place[2] < 45] == [True]
    assert any("cut at the superior edge" in note for note in result.answer.notes)


def test_a_whole_chest_is_not_called_cut(
    chest: tuple[NDArray[np.int16], Points], analyse: Callable[..., Any]
) -> None:
    voxels, places = chest
    result = analyse(np.pad(voxels, ((8, 8), (0, 0), (0, 0)), constant_values=40))
    assert all(found(result, places + np.array([0, 0, 8 * SPACING[0]])))
    assert not any("cut" in note for note in result.answer.notes)


def no_rescale(dataset: pydicom.Dataset, number: int) -> None:
    del dataset.RescaleSlope, dataset.RescaleIntercept


def magnetic_resonance(dataset: pydicom.Dataset, number: int) -> None:
    dataset.Modality, dataset.SOPClassUID = "MR", MRImageStorage
    dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage


def of_a_child(dataset: pydicom.Dataset, number: int) -> None:
    dataset.PatientAge = "008Y"


def another_size(dataset: pydicom.Dataset, number: int) -> None:
    if number == 17:
        dataset.PixelData = dataset.pixel_array[:20].tobytes()
        dataset.Rows = 20


@pytest.mark.parametrize(
    ("voxels", "spacing_mm", "edit", "code"),
    [
        (np.zeros((1, 64, 64), np.int16), SPACING, None, "TOO_FEW_SLICES"),
        (np.zeros((30, 64, 64), np.int16), (10.0, 1.0, 1.0), None, "SLICES_TOO_THICK"),
        (np.zeros((30, 64, 64), np.int16), SPACING, no_rescale, "HU_UNKNOWN"),
        (np.zeros((30, 64, 64), np.int16), SPACING, another_size, "GEOMETRY_NOT_UNIFORM"),
        (np.zeros((30, 64, 64), np.int16), SPACING, magnetic_resonance, "WRONG_MODALITY"),
        (np.zeros((30, 64, 64), np.int16), SPACING, of_a_child, "PATIENT_TOO_YOUNG"),
        (np.zeros((40, 64, 64), np.int16), SPACING, None, "LUNGS_NOT_FOUND"),
        (np.full((40, 64, 64), -1000, np.int16), SPACING, None, "LUNGS_NOT_FOUND"),
    ],
    ids=["1 slice", "10 mm", "no rescale", "mixed sizes", "MR", "child", "water", "air"],
)
def test_what_cannot_be_judged_is_refused_by_name(
    analyse: Callable[..., Any],
    voxels: NDArray[np.int16],
    spacing_mm: tuple[float, float, float],
    edit: Callable[[pydicom.Dataset, int], None] | None,
    code: str,
) -> None:
    assert analyse(voxels, spacing_mm, edit) == code
