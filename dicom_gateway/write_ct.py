"""Volume -> a series of CT Image Storage files (PS3.3 A.3), as the demo's phantom and the tests need them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from dicom_gateway.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from study.study import Patient

_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
# 122 bits of a digest: the largest root under 2.25 that a UUID-derived UID may have (PS3.5 section B.2).
_UID_BITS = 122


def write_ct_series(
    voxels: NDArray[np.int16],
    spacing_mm: tuple[float, float, float],
    out_dir: Path,
    *,
    patient: Patient | None = None,
    study_description: str = "",
    series_description: str = "Axial",
    body_part_examined: str = "CHEST",
    seed: str | int = 0,
    study_date: str = "20260101",
    origin_lps_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    orientation: tuple[float, ...] = _AXIAL,
) -> list[Path]:
    """One explicit little endian file for each slice, in slice order; the same arguments give the same bytes.

    voxels: int16 (slice, row, column), HU. spacing_mm: (slice, row, column). `origin_lps_mm` is the centre of
    voxel (0, 0, 0); `orientation` gives the direction of growing column and growing row index, slices are
    stacked along their cross product.
    """
    if voxels.ndim != 3 or voxels.dtype != np.int16:
        raise ValueError("voxels must be int16 (slice, row, column)")
    out_dir.mkdir(parents=True, exist_ok=True)
    common = _common(voxels, spacing_mm, patient or Patient(), seed, study_date)
    common.StudyDescription = study_description
    common.SeriesDescription = series_description
    common.BodyPartExamined = body_part_examined
    common.ImageOrientationPatient = [_decimal(value) for value in orientation]
    normal = np.cross(orientation[:3], orientation[3:])
    paths = []
    for index, pixels in enumerate(voxels):
        position = np.asarray(origin_lps_mm) + index * spacing_mm[0] * normal
        paths.append(_write_slice(out_dir / f"{index + 1:04d}.dcm", common, pixels, index, position, seed))
    return paths


def study_instance_uid(seed: str | int) -> str:
    """The Study Instance UID of the series that `write_ct_series` writes for this seed."""
    return _uid(seed, "study")


def _common(
    voxels: NDArray[np.int16],
    spacing_mm: tuple[float, float, float],
    patient: Patient,
    seed: str | int,
    study_date: str,
) -> Dataset:
    """What all slices share: Patient, General Study and Series, CT Image and Image Pixel modules."""
    common = Dataset()
    common.SpecificCharacterSet = "ISO_IR 192"
    common.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    common.SOPClassUID = CTImageStorage
    common.StudyDate = common.SeriesDate = common.AcquisitionDate = common.ContentDate = study_date
    common.StudyTime = common.SeriesTime = common.AcquisitionTime = common.ContentTime = "120000"
    common.AccessionNumber = ""
    common.Modality = "CT"
    common.Manufacturer = "radmeter"
    common.ReferringPhysicianName = ""
    common.PatientName = patient.name
    common.PatientID = patient.patient_id
    common.PatientBirthDate = patient.birth_date
    common.PatientSex = patient.sex
    if patient.age:
        common.PatientAge = patient.age
    common.SliceThickness = _decimal(spacing_mm[0])
    common.KVP = "120"
    common.GantryDetectorTilt = "0"
    common.ConvolutionKernel = "STANDARD"
    common.PatientPosition = "HFS"
    common.StudyInstanceUID = study_instance_uid(seed)
    common.SeriesInstanceUID = _uid(seed, "series")
    common.FrameOfReferenceUID = _uid(seed, "frame of reference")
    common.PositionReferenceIndicator = ""
    common.StudyID = "1"
    common.SeriesNumber = 1
    common.AcquisitionNumber = 1
    common.SamplesPerPixel = 1
    common.PhotometricInterpretation = "MONOCHROME2"
    common.Rows, common.Columns = voxels.shape[1:]
    common.PixelSpacing = [_decimal(spacing_mm[1]), _decimal(spacing_mm[2])]
    common.BitsAllocated = common.BitsStored = 16
    common.HighBit = 15
    # Signed, without offset: every int16 survives.
    common.PixelRepresentation = 1
    common.RescaleIntercept, common.RescaleSlope, common.RescaleType = "0", "1", "HU"
    # A lung window, so that a viewer opens the series on something to see.
    common.WindowCenter, common.WindowWidth = "-600", "1500"
    return common


def _write_slice(
    path: Path,
    common: Dataset,
    pixels: NDArray[np.int16],
    index: int,
    position: NDArray[np.float64],
    seed: str | int,
) -> Path:
    instance = Dataset()
    instance.update(common)
    instance.SOPInstanceUID = _uid(seed, f"instance {index}")
    instance.InstanceNumber = index + 1
    instance.ImagePositionPatient = [_decimal(value) for value in position]
    instance.SliceLocation = _decimal(float(position[2]))
    instance.PixelData = np.ascontiguousarray(pixels, dtype="<i2").tobytes()
    instance["PixelData"].VR = "OW"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    instance.file_meta = meta
    instance.preamble = bytes(128)
    dcmwrite(path, instance, enforce_file_format=True)
    return path


def _decimal(value: float) -> str:
    """A Decimal String: at most 16 characters (PS3.5 section 6.2), to a hundredth of a micrometre."""
    text = f"{value:.8f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text if len(text) <= 16 else f"{value:.9e}"


def _uid(seed: str | int, role: str) -> str:
    digest = hashlib.sha256(f"radmeter write_ct/{seed}/{role}".encode()).digest()
    return f"2.25.{int.from_bytes(digest, 'big') >> (256 - _UID_BITS)}"
