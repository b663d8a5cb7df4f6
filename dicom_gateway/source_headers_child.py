"""Parse and rewrite headers in the child of `source_headers`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydicom import config
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element

from dicom_gateway.part10 import FileUnreadable, read_header
from dicom_gateway.source_headers import LENGTH_PREFIX

# What results repeat or are built on: identification, patient, acquisition, relationship, image, procedure,
# functional groups. Overlays, curves, private groups and pixels stay behind.
_GROUPS = frozenset({0x0008, 0x0010, 0x0012, 0x0018, 0x0020, 0x0028, 0x0032, 0x0038, 0x0040, 0x5200})
# Of every file but the first: who it is, where it lies, how its values are shown.
_OF_OTHERS = tuple(
    int(tag_for_keyword(keyword) or 0)
    for keyword in (
        "SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID", "Modality", "PatientName",
        "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "InstanceNumber", "FrameOfReferenceUID",
        "NumberOfFrames", "Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
        "SliceThickness", "SpacingBetweenSlices", "PhotometricInterpretation", "RescaleIntercept", "RescaleSlope",
        "RescaleType", "WindowCenter", "WindowWidth", "ModalityLUTSequence", "DimensionIndexSequence",
        "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    )
)  # fmt: skip
_SPECIFIC_CHARACTER_SET = 0x00080005
_FUNCTIONAL_GROUPS = 0x5200
_VALUE_BYTES_MAX = 64 << 10
_DEPTH_MAX = 32
_UTF8 = ["utf8"]


class _Dropped(ValueError):
    """An element that is not carried over."""


def run(arguments: dict[str, Any]) -> dict[str, Any]:
    """arguments: paths, is_first_whole, out_path; answer: {} or {"unreadable": reason}."""
    config.settings.reading_validation_mode = config.IGNORE
    config.settings.writing_validation_mode = config.IGNORE
    with Path(arguments["out_path"]).open("wb") as out:
        for number, path in enumerate(arguments["paths"], start=1):
            try:
                is_whole = number == 1 and arguments["is_first_whole"]
                dataset = read_header(Path(path), None if is_whole else _OF_OTHERS).dataset
            except FileUnreadable as error:
                return {"unreadable": f"file {number} of the series: {error}"}
            data = _rewritten(dataset)
            out.write(LENGTH_PREFIX.pack(len(data)) + data)
    return {}


def _rewritten(dataset: Dataset) -> bytes:
    """The elements that can be converted and written, one by one: a damaged one costs only itself."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_data_element(buffer, DataElement(_SPECIFIC_CHARACTER_SET, "CS", "ISO_IR 192"), _UTF8)
    for tag in sorted(dataset.keys()):
        if tag.group not in _GROUPS or tag.element == 0 or tag == _SPECIFIC_CHARACTER_SET:
            continue
        start = buffer.tell()
        try:
            write_data_element(buffer, _checked(dataset, tag), _UTF8)
        except MemoryError:
            raise
        except Exception:  # conversion and writing of a hostile value raise whatever they like
            buffer.seek(start)
            buffer.parent.truncate()
    return bytes(buffer.getvalue())


def _checked(dataset: Dataset, tag: Any) -> DataElement:
    raw = dataset.get_item(tag)
    if isinstance(raw.value, bytes) and len(raw.value) > _VALUE_BYTES_MAX and tag.group != _FUNCTIONAL_GROUPS:
        raise _Dropped
    element = dataset[tag]
    if element.VR == "SQ":
        for item in element.value:
            _decode_item(item, depth=1)
    return element


def _decode_item(item: Dataset, depth: int) -> None:
    """Convert every value with the item's own character set; drop that set and private elements."""
    if depth > _DEPTH_MAX:
        raise _Dropped
    item.remove_private_tags()
    for element in list(item):
        if element.VR == "SQ":
            for nested in element.value:
                _decode_item(nested, depth + 1)
    if _SPECIFIC_CHARACTER_SET in item:
        del item[_SPECIFIC_CHARACTER_SET]
