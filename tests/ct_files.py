"""CT files for tests: series of their own making, and small changes to real ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dicom_gateway.decode import DecodeLimits, decode_series
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


def only_series(paths: Sequence[Path]) -> Series:
    (series,) = inspect_study([(str(path), path) for path in paths]).study.series
    return series


def decode(paths: Sequence[Path], out_dir: Path, limits: DecodeLimits | None = None) -> Volume:
    """Inspect and decode one series; locations are whole paths."""
    return decode_series(only_series(paths), Path("/"), out_dir, limits)
