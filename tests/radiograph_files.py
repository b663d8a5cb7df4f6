"""Radiograph files for tests: CR and DX objects of their own making, in every encoding that is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    JPEG2000,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicom_gateway.result_context import ResultContext
from study.answer import Classification
from study.codes import CARDIOMEGALY, PLEURA, PNEUMOTHORAX
from study.radiograph import Radiograph
from tests.result_builders import result_context

ENCODERS = {
    JPEG2000Lossless: lambda pixels: imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True),
    JPEG2000: lambda pixels: imagecodecs.jpeg2k_encode(pixels, level=90, codecformat="j2k"),
    JPEGLSLossless: imagecodecs.jpegls_encode,
    JPEGLosslessSV1: lambda pixels: imagecodecs.ljpeg_encode(pixels, bitspersample=pixels.dtype.itemsize * 8),
}


def radiograph(pixels: NDArray[Any], *, modality: str = "DX", **elements: Any) -> Dataset:
    """A CR or DX image of `pixels`; `elements` are added or replaced, None removes."""
    meta = FileMetaDataset()
    is_cr = modality == "CR"
    meta.MediaStorageSOPClassUID = (
        ComputedRadiographyImageStorage if is_cr else DigitalXRayImageStorageForPresentation
    )
    meta.MediaStorageSOPInstanceUID = "2.25.9001"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = Dataset()
    image.file_meta, image.preamble = meta, b"\0" * 128
    values: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 192", "SOPClassUID": meta.MediaStorageSOPClassUID,
        "SOPInstanceUID": "2.25.9001", "StudyInstanceUID": "2.25.9002", "SeriesInstanceUID": "2.25.9003",
        "Modality": modality, "BodyPartExamined": "CHEST", "ViewPosition": "PA", "StudyID": "1", "SeriesNumber": 1,
        "InstanceNumber": 1, "PatientID": "TEST-1", "PatientName": "Test^Patient", "PatientBirthDate": "19700101",
        "PatientSex": "O", "StudyDate": "20240102", "StudyTime": "101112", "AccessionNumber": "A1",
        "ReferringPhysicianName": "", "ImageType": ["ORIGINAL", "PRIMARY"], "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "Rows": pixels.shape[0], "Columns": pixels.shape[1],
        "BitsAllocated": pixels.dtype.itemsize * 8, "BitsStored": pixels.dtype.itemsize * 8,
        "PixelRepresentation": int(pixels.dtype.kind == "i"), "PatientOrientation": ["L", "F"],
        "ImagerPixelSpacing": [0.15, 0.15],
    }  # fmt: skip
    values |= elements
    values.setdefault("HighBit", values["BitsStored"] - 1)
    for keyword, value in values.items():
        if value is not None:
            setattr(image, keyword, value)
    image.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    image["PixelData"].VR = "OW" if image.BitsAllocated > 8 else "OB"
    return image


def write_radiograph(
    path: Path, pixels: NDArray[Any], syntax: str = ExplicitVRLittleEndian, **options: Any
) -> Path:
    """The image as a Part 10 file in a transfer syntax."""
    image = radiograph(pixels, **options)
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == RLELossless else syntax
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    if syntax in ENCODERS:
        frame = bytes(ENCODERS[syntax](pixels))
        image.PixelData = encapsulate([frame + b"\0" * (len(frame) % 2)])
        image["PixelData"].VR = "OB"
        image["PixelData"].is_undefined_length = True
    elif syntax == RLELossless:
        image.compress(RLELossless, pixels, encoding_plugin="pydicom", generate_instance_uid=False)
    elif syntax == ExplicitVRBigEndian:
        image.PixelData = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    little = syntax != ExplicitVRBigEndian
    dcmwrite(
        path,
        image,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=little,
        enforce_file_format=True,
    )
    return path


def table(entries: NDArray[np.uint16], first: int, bits: int) -> Dataset:
    """An item of a Modality or VOI LUT Sequence."""
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first, bits]
    item["LUTDescriptor"].VR = "US"
    item.ModalityLUTType = "US"
    item.LUTData = entries.astype("<u2").tobytes()
    item["LUTData"].VR = "OW"
    return item


def statement(label: str = "pneumothorax", probability: float = 0.9, **changes: Any) -> Classification:
    """A statement with a map whose greatest value lies in the upper left quarter."""
    saliency = np.full((28, 28), 0.05, np.float32)
    saliency[4:8, 5:10] = probability
    values: dict[str, Any] = {
        "label": label, "code": {"pneumothorax": PNEUMOTHORAX, "cardiomegaly": CARDIOMEGALY}[label],
        "probability": probability, "threshold": 0.4, "saliency": saliency, "region_px": (20.0, 30.0, 90.0, 80.5),
        "tracking_uid": {"pneumothorax": "2.25.771", "cardiomegaly": "2.25.772"}[label], "site": PLEURA,
    }  # fmt: skip
    return Classification(**(values | changes))


def radiograph_context(
    header: Dataset, statements: Sequence[Classification], **changes: Any
) -> ResultContext:
    """A result on the image of `header`."""
    image = Radiograph(
        np.zeros((int(header.Rows), int(header.Columns)), np.uint16), 12, None, str(header.SOPInstanceUID),
        str(header.SeriesInstanceUID), str(header.get("ViewPosition") or ""),
    )  # fmt: skip
    values = {
        "model_name": "chest_radiograph",
        "classifications": tuple(statements),
        "image": image,
    } | changes
    return result_context([header], cast(Any, image), (), **values)
