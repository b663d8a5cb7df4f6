"""The same patient in another encoding, another order or other slices: what stays the same, and what drifts how far."""

import json
import random
import shutil
import subprocess
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from benchmarks.real_series import thicker
from dicom_gateway.decode import decode_series
from dicom_gateway.inspect import inspect_study
from inference.infer import run_model
from inference.onnxruntime_endpoint import OnnxRuntimeEndpoint
from models.registry import get_model
from study.findings import Finding
from study.volume import Volume

LIDC = "ct_chest_lidc0314_1mm"
# Slices of the case that hold the nodule and enough lung around it.
FIRST, LAST = 120, 200
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"


@pytest.fixture(scope="module")
def endpoint() -> OnnxRuntimeEndpoint:
    return OnnxRuntimeEndpoint()


@pytest.fixture(scope="module")
def center(shared_data: Path) -> np.ndarray:
    truth = json.loads((shared_data / LIDC / "ground_truth.json").read_text())["nodules"][0]
    return np.array(truth["center_lps_mm"])


@pytest.fixture(scope="module")
def slices(shared_data: Path) -> list[Path]:
    """The files of the case from feet to head."""
    paths = list((shared_data / LIDC / "dicom").glob("*.dcm"))
    return sorted(
        paths, key=lambda p: float(pydicom.dcmread(p, stop_before_pixels=True).ImagePositionPatient[2])
    )


def decode(paths: list[Path], scratch: Path) -> Volume:
    """Files in this order, decoded as one series."""
    scratch.mkdir(exist_ok=True)
    series = inspect_study([(str(path), path) for path in paths]).study.series[0]
    return decode_series(series, Path("/"), scratch)


def findings(volume: Volume, endpoint: OnnxRuntimeEndpoint) -> tuple[Finding, ...]:
    return run_model(get_model("lung_nodule_ct"), volume, endpoint).findings


def uncompressed(path: Path) -> pydicom.Dataset:
    dataset = pydicom.dcmread(path)
    dataset.decompress()
    return dataset


def written(path: Path, syntax: str, target: Path) -> Path:
    """The same slice in another transfer syntax."""
    dataset = uncompressed(path)
    if syntax == JPEG_LOSSLESS:
        plain = target.with_suffix(".plain")
        dataset.save_as(plain)
        subprocess.run(["dcmcjpeg", "+e1", str(plain), str(target)], check=True, timeout=60)
        return target
    if syntax == JPEG2000Lossless:
        frame = imagecodecs.jpeg2k_encode(dataset.pixel_array, reversible=True, level=0, codecformat="j2k")
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].is_undefined_length = True
    elif syntax in (RLELossless, JPEGLSLossless):
        dataset.compress(syntax)
    elif syntax == ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    pydicom.dcmwrite(
        target, dataset, implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
    )  # fmt: skip
    return target


SYNTAXES = [
    ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless,
    JPEGLSLossless, JPEG2000Lossless, pytest.param(JPEG_LOSSLESS, marks=pytest.mark.peer),
]  # fmt: skip


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_transfer_syntax_gives_the_same_voxels(syntax: str, slices: list[Path], tmp_path: Path) -> None:
    some = slices[FIRST + 30 : FIRST + 42]
    again = [written(path, syntax, tmp_path / f"{n}.dcm") for n, path in enumerate(some)]
    assert pydicom.dcmread(again[0], stop_before_pixels=True).file_meta.TransferSyntaxUID == syntax
    wanted, got = decode(some, tmp_path / "a"), decode(again, tmp_path / "b")
    assert np.array_equal(got.voxels, wanted.voxels)
    assert np.array_equal(got.affine_mm, wanted.affine_mm)


def test_shuffled_and_sent_twice_gives_the_same_findings(
    slices: list[Path], tmp_path: Path, endpoint: OnnxRuntimeEndpoint, center: np.ndarray
) -> None:
    some = slices[FIRST:LAST]
    mixed = [*some, *(Path(shutil.copy(path, tmp_path / path.name)) for path in some[::7])]
    random.Random(5).shuffle(mixed)
    plain = findings(decode(some, tmp_path / "a"), endpoint)
    assert findings_alike(findings(decode(mixed, tmp_path / "b"), endpoint), plain)
    assert min(np.linalg.norm(np.subtract(f.center_lps_mm, center)) for f in plain) < 3


def findings_alike(one: tuple[Finding, ...], other: tuple[Finding, ...]) -> bool:
    """Equal but for the arrays of their segments, which are compared as arrays."""
    return len(one) == len(other) and all(
        a.as_json() == b.as_json()
        and (a.segment is None) == (b.segment is None)
        and (a.segment is None or b.segment is None or np.array_equal(a.segment.mask, b.segment.mask))
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize(
    ("thickness_mm", "center_mm", "diameter_share"), [(2.5, 1.5, 0.15), (5.0, 3.0, 0.25)]
)
def test_thicker_slices_of_the_same_patient_move_the_nodule_little(
    thickness_mm: float,
    center_mm: float,
    diameter_share: float,
    slices: list[Path],
    tmp_path: Path,
    endpoint: OnnxRuntimeEndpoint,
    center: np.ndarray,
) -> None:
    volume = decode(slices[FIRST - 40 : LAST + 40], tmp_path)
    one, other = (
        min(findings(v, endpoint), key=lambda f: float(np.linalg.norm(np.subtract(f.center_lps_mm, center))))
        for v in (volume, thicker(volume, thickness_mm))
    )
    assert np.linalg.norm(np.subtract(one.center_lps_mm, other.center_lps_mm)) < center_mm
    assert other.mean_diameter_mm == pytest.approx(one.mean_diameter_mm, rel=diameter_share)


@pytest.mark.soak
@pytest.mark.peer
def test_the_whole_case_gives_the_same_findings_in_eight_transfer_syntaxes(
    slices: list[Path], tmp_path: Path, endpoint: OnnxRuntimeEndpoint
) -> None:
    wanted = findings(decode(slices, tmp_path / "plain"), endpoint)
    for number, parameter in enumerate(SYNTAXES):
        syntax = JPEG_LOSSLESS if not isinstance(parameter, str) else parameter
        folder = tmp_path / str(number)
        folder.mkdir()
        again = [written(path, syntax, folder / f"{n}.dcm") for n, path in enumerate(slices)]
        assert findings_alike(findings(decode(again, folder), endpoint), wanted), syntax
        shutil.rmtree(folder)
