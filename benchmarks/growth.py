"""A series of any length, made of a real one: its slices there and back again, moved on along the patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import generate_uid


def growing_series(files: Path, out: Path, count: int) -> Path:
    """`count` slices in `out`, at the distance of the first two; the pixels stay as they are encoded.

    What is no DICOM file and what holds no slice is left out; raises ValueError when two slices do not remain.
    """
    slices = [one for path in files.iterdir() if (one := _slice(path)) is not None]
    if len(slices) < 2:
        raise ValueError(f"{files} holds {len(slices)} slices: a series that grows needs two at least")
    out.mkdir()
    slices.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    if count < len(slices):  # the middle of the chest
        start = (len(slices) - count) // 2
        slices = slices[start : start + count]
    step = np.diff([float(one.ImagePositionPatient[2]) for one in slices[:2]])[0]
    order = [*range(len(slices)), *range(len(slices) - 2, 0, -1)]
    first, series = list(slices[0].ImagePositionPatient), generate_uid()
    for number in range(count):
        one = slices[order[number % len(order)]]
        place = [float(first[0]), float(first[1]), float(first[2]) + number * float(step)]
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        one.SeriesInstanceUID, one.InstanceNumber = series, number + 1
        one.ImagePositionPatient = [f"{value:.3f}" for value in place]
        one.SliceLocation = f"{place[2]:.3f}"
        one.save_as(out / f"{number:05d}.dcm")
    return out


def _slice(path: Path) -> pydicom.FileDataset | None:
    if not path.is_file():
        return None
    try:
        found = pydicom.dcmread(path)
    except InvalidDicomError:
        return None
    return found if "PixelData" in found and "ImagePositionPatient" in found else None
