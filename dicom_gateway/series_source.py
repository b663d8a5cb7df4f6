"""The files of one series as decodable frames, checked before a pixel is touched. Runs in a child process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage

from dicom_gateway import frame_headers as tags
from dicom_gateway import header_values as values
from dicom_gateway.decode_errors import (
    DifferentPatients,
    EmptySeries,
    FramesOfReferenceDiffer,
    GeometryInvalid,
    HounsfieldUnknown,
    InstanceUnreadable,
    NotCT,
    PixelDataUnreadable,
    TooLarge,
    TransferSyntaxNotSupported,
)
from dicom_gateway.frame_headers import HEADER_TAGS, FrameHeader, frame_count, read_frames
from dicom_gateway.geometry import Plane
from dicom_gateway.part10 import PIXEL_DATA, FileUnreadable, Header, PixelElement, open_body, read_header
from dicom_gateway.pixels import LOSSY_SYNTAXES, NATIVE_SYNTAXES, SUPPORTED_SYNTAXES, PixelFormat, Rescale
from study.sentences import say

CT_SOP_CLASSES = frozenset(
    map(str, (CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage))
)
# The terms of PS3.3 C.11.1.1.2 that are no CT number: optical density, iodine, effective atomic number,
# electron density, modified HU, percentage. Absent means HU; free text ("Houndsfield Unit") is not a term.
_OTHER_RESCALE_TYPES = frozenset({"OD", "MGML", "Z_EFF", "ED", "EDW", "HU_MOD", "PCT"})


@dataclass(frozen=True)
class Source:
    """One file of the series. number: Instance Number or position in the request, for messages only."""

    path: Path
    number: int
    header: Header
    sop_instance_uid: str
    pixel_format: PixelFormat
    pixels: PixelElement
    frame_count: int

    def encoded_frames(self) -> list[bytes]:
        """The bytes of each frame without encapsulation; raises `PixelDataUnreadable`."""
        with open_body(self.path, self.header.transfer_syntax_uid) as body:
            body.seek(self.pixels.offset)
            if self.pixels.length_bytes is None:
                return self._unpacked(body.read())
            data = body.read(self.pixels.length_bytes)
        size = self.pixel_format.frame_bytes
        needed = size * self.frame_count
        # A value of odd length is padded with one byte (PS3.5 section 7.1).
        if self.pixels.length_bytes != len(data) or len(data) not in (needed, needed + needed % 2):
            raise PixelDataUnreadable(
                f"the pixel data of instance {self.number} has {len(data)} bytes instead of {needed}"
            )
        return [data[start : start + size] for start in range(0, needed, size)]

    def _unpacked(self, data: bytes) -> list[bytes]:
        try:
            frames = list(generate_frames(data, number_of_frames=self.frame_count))
        except MemoryError:
            raise
        except Exception as error:  # the parser raises many kinds on damaged fragments
            raise PixelDataUnreadable(f"the pixel data of instance {self.number} is damaged") from error
        if len(frames) != self.frame_count:
            raise PixelDataUnreadable(
                f"instance {self.number} holds {len(frames)} frames, its header tells {self.frame_count}"
            )
        return frames


@dataclass(frozen=True)
class Frame:
    """One slice to be: where its pixels are and what its header says."""

    source: Source
    header: FrameHeader
    plane: Plane
    rescale: Rescale


@dataclass(frozen=True)
class SeriesSource:
    """The frames of a series and what is common to them."""

    frames: tuple[Frame, ...]
    frame_of_reference_uid: str
    tilt_tag_deg: float | None
    notes: tuple[str, ...]


def open_series(paths: Sequence[Path], volume_bytes_max: int) -> SeriesSource:
    """Read and check every header; raises a `DecodeError`."""
    headers = [(path, read_source_header(path, number)) for number, path in enumerate(paths, start=1)]
    if not headers:
        raise EmptySeries("the series has no instances")
    datasets = [header.dataset for _, header in headers]
    _check_is_ct(datasets)
    _check_common(datasets)
    sources = [source_of(path, header, number) for number, (path, header) in enumerate(headers, start=1)]
    check_size(sources, volume_bytes_max)
    frames, notes = _without_localizers([frame for source in sources for frame in _frames(source)])
    notes += _pixel_notes(frames)
    tilts = [values.number(dataset, tags.GANTRY_DETECTOR_TILT) for dataset in datasets]
    tilt_tag_deg = next((tilt for tilt in tilts if tilt is not None), None)
    reference = values.uid(datasets[0], tags.FRAME_OF_REFERENCE_UID)
    return SeriesSource(tuple(frames), reference, tilt_tag_deg, tuple(notes))


def read_source_header(path: Path, number: int) -> Header:
    """The header of file `number` of a series; raises `InstanceUnreadable`."""
    try:
        return read_header(path, HEADER_TAGS)
    except FileUnreadable as error:
        raise InstanceUnreadable(f"file {number} of the series cannot be read: {error}") from error


def _check_is_ct(datasets: list[Dataset]) -> None:
    for dataset in datasets:
        if values.uid(dataset, tags.SOP_CLASS_UID) not in CT_SOP_CLASSES:
            raise NotCT("the series holds objects that are not CT images")
        if values.text(dataset, tags.MODALITY) != "CT":
            raise NotCT("the series holds CT image objects whose Modality is not CT")


def _check_common(datasets: list[Dataset]) -> None:
    patients = {values.text(dataset, tags.PATIENT_ID) for dataset in datasets}
    names = {values.text(dataset, tags.PATIENT_NAME) for dataset in datasets}
    if len(patients) > 1 or len(names) > 1:
        raise DifferentPatients("the instances of the series name different patients")
    if len({values.uid(dataset, tags.FRAME_OF_REFERENCE_UID) for dataset in datasets}) > 1:
        raise FramesOfReferenceDiffer("the slices of the series have different frames of reference")


def source_of(path: Path, header: Header, ordinal: int) -> Source:
    """The file as checked frames; raises a `DecodeError` when its pixels cannot be what we read."""
    dataset = header.dataset
    number = values.integer(dataset, tags.INSTANCE_NUMBER)
    number = ordinal if number is None else number
    if header.transfer_syntax_uid not in SUPPORTED_SYNTAXES:
        raise TransferSyntaxNotSupported(f"the transfer syntax of instance {number} is not supported")
    if header.pixels is None or header.pixels.tag != PIXEL_DATA:
        raise PixelDataUnreadable(f"instance {number} has no pixel data")
    if (header.pixels.length_bytes or 0) > header.pixels.available_bytes:
        raise PixelDataUnreadable(f"the pixel data of instance {number} ends before its declared length")
    is_native = header.transfer_syntax_uid in NATIVE_SYNTAXES
    if is_native != (header.pixels.length_bytes is not None):
        raise PixelDataUnreadable(f"the pixel data of instance {number} contradicts its transfer syntax")
    return Source(
        path=path,
        number=number,
        header=header,
        sop_instance_uid=values.uid(dataset, tags.SOP_INSTANCE_UID),
        pixel_format=_pixel_format(header),
        pixels=header.pixels,
        frame_count=frame_count(dataset),
    )


def _pixel_format(header: Header) -> PixelFormat:
    dataset = header.dataset
    bits_stored = values.integer(dataset, tags.BITS_STORED) or 0
    high_bit = values.integer(dataset, tags.HIGH_BIT)
    return PixelFormat(
        transfer_syntax_uid=header.transfer_syntax_uid,
        rows=values.integer(dataset, tags.ROWS) or 0,
        columns=values.integer(dataset, tags.COLUMNS) or 0,
        bits_allocated=values.integer(dataset, tags.BITS_ALLOCATED) or 0,
        bits_stored=bits_stored,
        high_bit=bits_stored - 1 if high_bit is None else high_bit,
        is_signed=values.integer(dataset, tags.PIXEL_REPRESENTATION) == 1,
        samples_per_pixel=values.integer(dataset, tags.SAMPLES_PER_PIXEL) or 1,
        photometric_interpretation=values.text(dataset, tags.PHOTOMETRIC_INTERPRETATION) or "MONOCHROME2",
        padding=_padding(dataset),
    )


def _padding(dataset: Dataset) -> tuple[int, int] | None:
    """Padding value and range limit, ascending, with the sign that Pixel Representation gives them.

    Explicit files often write them unsigned (US) beside signed pixels.
    """
    value = values.integer(dataset, tags.PIXEL_PADDING_VALUE)
    if value is None:
        return None
    limit = values.integer(dataset, tags.PIXEL_PADDING_RANGE_LIMIT)
    bits = values.integer(dataset, tags.BITS_ALLOCATED) or 16
    is_signed = values.integer(dataset, tags.PIXEL_REPRESENTATION) == 1

    def stored(number: int) -> int:
        low = number % (1 << bits)
        return low - (1 << bits) if is_signed and low >= 1 << (bits - 1) else low

    ends = sorted((stored(value), stored(value if limit is None else limit)))
    return ends[0], ends[1]


def check_size(sources: list[Source], volume_bytes_max: int) -> None:
    """Before any allocation: int16 voxels of every frame that the headers announce."""
    needed = sum(
        source.pixel_format.rows * source.pixel_format.columns * 2 * source.frame_count for source in sources
    )
    if needed > volume_bytes_max:
        raise TooLarge(
            f"the series announces {needed >> 20} MiB of voxels, more than {volume_bytes_max >> 20} MiB",
            needed_bytes=needed,
            bytes_max=volume_bytes_max,
        )


def _frames(source: Source) -> list[Frame]:
    headers = read_frames(source.header.dataset)
    if len(headers) != source.frame_count:
        raise GeometryInvalid(
            f"instance {source.number} has {source.frame_count} frames but geometry for {len(headers)}"
        )
    size = (source.pixel_format.rows, source.pixel_format.columns)
    return [
        Frame(
            source,
            header,
            Plane(header.position_mm, header.orientation, header.spacing_mm, size),
            _rescale(header),
        )
        for header in headers
    ]


def _rescale(header: FrameHeader) -> Rescale:
    if header.slope is None or header.intercept is None:
        raise HounsfieldUnknown("a slice has no usable Rescale Slope and Rescale Intercept")
    if header.rescale_type.upper() in _OTHER_RESCALE_TYPES:
        raise HounsfieldUnknown("Rescale Type says that the values are not Hounsfield units")
    return Rescale(header.slope, header.intercept)


def _without_localizers(frames: list[Frame]) -> tuple[list[Frame], list[str]]:
    """Some archives file the scout view with the slices."""
    kept = [frame for frame in frames if "LOCALIZER" not in frame.header.image_type]
    if not kept or len(kept) == len(frames):
        return frames, []
    count = len(frames) - len(kept)
    return kept, [say("LOCALIZER_LEFT_OUT" if count == 1 else "LOCALIZERS_LEFT_OUT", n=count)]


def _pixel_notes(frames: list[Frame]) -> list[str]:
    notes = []
    if any(
        frame.source.header.transfer_syntax_uid in LOSSY_SYNTAXES
        or values.text(frame.source.header.dataset, tags.LOSSY_IMAGE_COMPRESSION) == "01"
        for frame in frames
    ):
        notes.append(say("LOSSY"))
    if any(frame.header.rescale_type.upper() == "US" for frame in frames):
        notes.append(say("UNIT_UNSPECIFIED"))
    return notes
