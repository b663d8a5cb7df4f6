"""CT files for tests: series of their own making, and small changes to real ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_gateway.decode import DecodeLimits, decode_series
from dicom_gateway.decode_errors import DecodeError
from dicom_gateway.inspect import inspect_study
from dicom_gateway.write_ct import write_ct_series
from study.study import Patient, Series
from study.volume import Volume

PATIENT = Patient(patient_id="TEST-1", name="Test^Patient", birth_date="19700101", sex="O")


def ramp(shape: tuple[int, int, int]) -> NDArray[np.int16]:
    """Voxels that are all different from their neighbours, slices from one another."""
    flat = np.arange(np.prod(shape), dtype=np.int64)
    return (flat * 7 % 4001 - 1024).astype(np.int16).reshape(shape)


def write(folder: Path, voxels: NDArray[np.int16], **options: Any) -> list[Path]:
    spacing_mm = options.pop("spacing_mm", (2.5, 0.7, 0.8))
    return write_ct_series(voxels, spacing_mm, folder, patient=PATIENT, **options)


def change(paths: Sequence[Path], edit: Callable[[int, Dataset], None]) -> None:
    """Rewrite each file after `edit(index, dataset)`."""
    for index, path in enumerate(paths):
        dataset = pydicom.dcmread(path)
        edit(index, dataset)
        dataset.save_as(path)


def files(folder: Path) -> list[Path]:
    """The DICOM files of a folder of the shared data, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix != ".sha256")


def two_slices_of(source: Path, folder: Path) -> list[Path]:
    """The image twice, the second time 5 mm higher and under another UID."""
    folder.mkdir(parents=True)
    paths = [folder / "1.dcm", folder / "2.dcm"]
    for index, path in enumerate(paths):
        dataset = pydicom.dcmread(source)
        x, y, z = (float(value) for value in dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x, y, z + 5 * index]
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"2.25.77{index}"
        dataset.save_as(path)
    return paths


def only_series(paths: Sequence[Path]) -> Series:
    (series,) = inspect_study([(str(path), path) for path in paths]).study.series
    return series


def decode(paths: Sequence[Path], out_dir: Path, limits: DecodeLimits | None = None) -> Volume:
    """Inspect and decode one series; locations are whole paths."""
    return decode_series(only_series(paths), Path("/"), out_dir, limits)


def outcome(series: Series, out_dir: Path) -> Volume | DecodeError:
    """What decoding ends in, whichever of the two allowed ends it is; anything else fails the test."""
    started = time.monotonic()
    try:
        return decode_series(series, Path("/"), out_dir)
    except DecodeError as error:
        return error
    finally:
        assert time.monotonic() - started < 30
