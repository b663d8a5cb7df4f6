"""Decode one radiograph in the child of `decode_radiograph`: one frame -> pixels.npy and radiograph.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
)

from dicom_gateway import frame_headers as tags
from dicom_gateway import header_values as values
from dicom_gateway.decode_child import answer_of
from dicom_gateway.decode_errors import NotARadiograph
from dicom_gateway.lookup_table import read_table
from dicom_gateway.pixels import LOSSY_SYNTAXES, decode_stored
from dicom_gateway.radiograph_files import PIXELS_NAME, RadiographDescription
from dicom_gateway.series_source import Source, check_size, read_source_header, source_of
from study.sentences import say

SOP_CLASSES = frozenset(
    map(
        str,
        (
            ComputedRadiographyImageStorage,
            DigitalXRayImageStorageForPresentation,
            DigitalXRayImageStorageForProcessing,
        ),
    )
)
_MODALITIES = frozenset({"CR", "DX"})
_FOR_PROCESSING = "FOR PROCESSING"


def run(arguments: dict[str, Any]) -> dict[str, Any]:
    """arguments: path, out_dir, series_instance_uid, image_bytes_max. Answer: {} or {"error"}."""
    return answer_of(
        lambda: _decode(
            Path(arguments["path"]),
            Path(arguments["out_dir"]),
            arguments["series_instance_uid"],
            arguments["image_bytes_max"],
        )
    )


def _decode(path: Path, out_dir: Path, series_uid: str, image_bytes_max: int) -> None:
    source = _open(path, image_bytes_max)
    dataset = source.header.dataset
    pixels, bits, notes = _shown(source)
    with (out_dir / f"{PIXELS_NAME}.partial").open("wb") as file:
        np.save(file, pixels)
    (out_dir / f"{PIXELS_NAME}.partial").replace(out_dir / PIXELS_NAME)
    RadiographDescription(
        bits=bits,
        spacing_mm=_spacing_mm(dataset),
        sop_instance_uid=source.sop_instance_uid,
        series_instance_uid=series_uid,
        view_position=values.text(dataset, tags.VIEW_POSITION).upper(),
        window=_window(dataset, pixels, bits, source),
        notes=notes,
    ).write(out_dir)


def _open(path: Path, image_bytes_max: int) -> Source:
    header = read_source_header(path, 1)
    dataset = header.dataset
    is_radiograph = values.uid(dataset, tags.SOP_CLASS_UID) in SOP_CLASSES
    if not is_radiograph or values.text(dataset, tags.MODALITY) not in _MODALITIES:
        raise NotARadiograph("the object is not a computed or digital radiograph")
    source = source_of(path, header, 1)
    if source.frame_count != 1:
        raise NotARadiograph(f"the radiograph has {source.frame_count} frames, not one")
    check_size([source], image_bytes_max)
    return source


def _shown(source: Source) -> tuple[NDArray[np.uint16], int, list[str]]:
    """Pixels as MONOCHROME2 shows them, their bits, and what a reader should know.

    A linear rescale keeps the order of values and is left out unless it turns it around; tables are applied
    (PS3.3 C.11.1, C.11.2), windows are not: they would cut off what the model may need.
    """
    dataset, pixel_format = source.header.dataset, source.pixel_format
    stored, is_padding = decode_stored(source.encoded_frames()[0], pixel_format)
    bits, lowest = pixel_format.bits_stored, 0
    if pixel_format.is_signed:
        lowest = -(1 << (bits - 1))
    is_dark = _is_inverted(dataset, pixel_format.photometric_interpretation)
    modality = read_table(dataset, tags.MODALITY_LUT_SEQUENCE, is_signed=pixel_format.is_signed)
    if modality is not None:
        stored, bits, lowest = modality.apply(stored), modality.bits, 0
    elif (values.number(dataset, tags.RESCALE_SLOPE) or 1.0) < 0:
        is_dark = not is_dark
    voi = read_table(dataset, tags.VOI_LUT_SEQUENCE, is_signed=pixel_format.is_signed and modality is None)
    if voi is not None:
        stored, bits, lowest = voi.apply(stored), voi.bits, 0
    top = (1 << bits) - 1
    shown = np.clip(stored - np.int32(lowest), 0, top)
    if is_dark:
        shown = top - shown
    if is_padding is not None:
        shown[is_padding] = 0
    return shown.astype(np.uint16), bits, _notes(source)


def _is_inverted(dataset: Dataset, photometric_interpretation: str) -> bool:
    """Whether dense tissue has the low values. Unprocessed images are not made to be shown: their sign tells."""
    sign = values.integer(dataset, tags.PIXEL_INTENSITY_RELATIONSHIP_SIGN)
    intent = values.text(dataset, tags.PRESENTATION_INTENT_TYPE).upper()
    if intent == _FOR_PROCESSING and sign in (-1, 1):
        return sign == 1
    return photometric_interpretation == "MONOCHROME1"


def _spacing_mm(dataset: Dataset) -> list[float] | None:
    """Pixel Spacing, else that of the detector; zeros are written by some."""
    for tag in (tags.PIXEL_SPACING, tags.IMAGER_PIXEL_SPACING):
        spacing = values.numbers(dataset, tag, 2)
        if spacing is not None and min(spacing) > 0:
            return list(spacing)
    return None


def _window(
    dataset: Dataset, pixels: NDArray[np.uint16], bits: int, source: Source
) -> tuple[float, float] | None:
    """The first VOI window as (low, high) of `pixels`; None where there is none or a table took its place."""
    tables = (tags.VOI_LUT_SEQUENCE, tags.MODALITY_LUT_SEQUENCE)
    if any(values.first_item(dataset, tag) is not None for tag in tables):
        return None
    center, width = (_first_number(dataset, tag) for tag in (tags.WINDOW_CENTER, tags.WINDOW_WIDTH))
    if center is None or width is None or width < 1:
        return None
    slope = values.number(dataset, tags.RESCALE_SLOPE) or 1.0
    intercept = values.number(dataset, tags.RESCALE_INTERCEPT) or 0.0
    lowest = -(1 << (bits - 1)) if source.pixel_format.is_signed else 0
    ends = [(center + side * width / 2 - intercept) / slope - lowest for side in (-1, 1)]
    inverted = _is_inverted(dataset, source.pixel_format.photometric_interpretation)
    if inverted != (slope < 0):
        ends = [(1 << bits) - 1 - end for end in ends]
    low, high = sorted(ends)
    # A window beside the picture would show nothing of it.
    seen = ((pixels > low) & (pixels < high)).mean()
    return (low, high) if seen > 0.2 else None


def _first_number(dataset: Dataset, tag: int) -> float | None:
    found = values.texts(dataset, tag)
    try:
        number = float(found[0]) if found else None
    except ValueError:
        return None
    return number if number is not None and np.isfinite(number) else None


def _notes(source: Source) -> list[str]:
    dataset = source.header.dataset
    notes = []
    lossy = values.text(dataset, tags.LOSSY_IMAGE_COMPRESSION) == "01"
    if lossy or source.header.transfer_syntax_uid in LOSSY_SYNTAXES:
        notes.append(say("LOSSY_IMAGE"))
    if values.text(dataset, tags.PRESENTATION_INTENT_TYPE).upper() == _FOR_PROCESSING:
        notes.append(say("FOR_PROCESSING"))
    return notes
