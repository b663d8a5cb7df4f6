"""One stored frame of any image as samples: grey of up to 32 bits, colour of 8, single bits, floats. For children.

Grey frames go the way of `pixels`; what is checked of them before a decoder sees them is checked of colour too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRBigEndian, RLELossless

from dicom_gateway import frame_headers as tags
from dicom_gateway import header_values as values
from dicom_gateway.codestream import CodestreamInvalid, check_rle_header
from dicom_gateway.decode_errors import PixelDataUnreadable, PixelFormatNotSupported
from dicom_gateway.frame_table import FrameTable
from dicom_gateway.part10 import PIXEL_DATA, Header
from dicom_gateway.pixels import CODECS, PixelFormat, decode_stored

_PLANAR_CONFIGURATION = 0x00280006
_COLOURS = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})


@dataclass(frozen=True)
class ImagePixels:
    """How the pixels of an instance are stored (PS3.3 C.7.6.3). bits: allocated for each sample."""

    transfer_syntax_uid: str
    rows: int
    columns: int
    samples: int
    bits: int
    bits_stored: int
    is_signed: bool
    is_planar: bool
    is_float: bool
    photometric_interpretation: str

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of one sample, little endian; single bits become bytes."""
        kind = "f" if self.is_float else "i" if self.is_signed else "u"
        return np.dtype(f"<{kind}{max(self.bits, 8) // 8}")

    @property
    def is_grey(self) -> bool:
        return self.samples == 1 and self.photometric_interpretation.startswith("MONOCHROME")


def image_pixels(header: Header, table: FrameTable) -> ImagePixels:
    """Raises `PixelDataUnreadable` where the instance has no frames that can be told apart."""
    if table.problem or header.pixels is None:
        raise PixelDataUnreadable(table.problem or "the instance has no pixels")
    dataset = header.dataset
    is_float = header.pixels.tag != PIXEL_DATA
    rows, columns = values.integer(dataset, tags.ROWS) or 0, values.integer(dataset, tags.COLUMNS) or 0
    bits = table.frame_bits // (rows * columns) if is_float else values.integer(dataset, tags.BITS_ALLOCATED)
    return ImagePixels(
        transfer_syntax_uid=header.transfer_syntax_uid,
        rows=rows,
        columns=columns,
        samples=values.integer(dataset, tags.SAMPLES_PER_PIXEL) or 1,
        bits=bits or 0,
        bits_stored=values.integer(dataset, tags.BITS_STORED) or bits or 0,
        is_signed=values.integer(dataset, tags.PIXEL_REPRESENTATION) == 1,
        is_planar=values.integer(dataset, _PLANAR_CONFIGURATION) == 1,
        is_float=is_float,
        photometric_interpretation=values.text(dataset, tags.PHOTOMETRIC_INTERPRETATION) or "MONOCHROME2",
    )


def stored_samples(data: bytes, image: ImagePixels, table: FrameTable, number: int) -> NDArray[Any]:
    """(row, column) or (row, column, sample) of frame `number`, whose stored bytes are `data`.

    Raises `PixelDataUnreadable`, `PixelFormatNotSupported`.
    """
    if table.encapsulated is None:
        return _native(data, image, table, number)
    if image.is_grey:
        pixel_format = PixelFormat(
            transfer_syntax_uid=image.transfer_syntax_uid,
            rows=image.rows,
            columns=image.columns,
            bits_allocated=image.bits,
            bits_stored=image.bits_stored,
            high_bit=image.bits_stored - 1,
            is_signed=image.is_signed,
            samples_per_pixel=1,
            photometric_interpretation=image.photometric_interpretation,
        )
        return decode_stored(data, pixel_format)[0].astype(image.dtype)
    return _colour(data, image)


def _native(data: bytes, image: ImagePixels, table: FrameTable, number: int) -> NDArray[Any]:
    shape = (image.rows, image.columns)
    if image.bits == 1:
        first = (number - 1) * table.frame_bits % 8
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        return bits[first : first + table.frame_bits].reshape(shape)
    if image.bits not in (8, 16, 32, 64) or table.frame_bits != image.rows * image.columns * image.samples * (
        image.bits
    ):
        raise PixelFormatNotSupported("pixels that are stored this way are not read")
    dtype = (
        image.dtype.newbyteorder(">")
        if image.transfer_syntax_uid == ExplicitVRBigEndian and image.bits > 8
        else image.dtype
    )
    samples = np.frombuffer(data, dtype).astype(image.dtype)
    if image.samples == 1:
        return samples.reshape(shape)
    if image.is_planar:
        return np.moveaxis(samples.reshape(image.samples, *shape), 0, -1)
    return samples.reshape(*shape, image.samples)


def _colour(data: bytes, image: ImagePixels) -> NDArray[Any]:
    """As red, green and blue, which decoders make of what is stored."""
    if image.samples != 3 or image.bits != 8 or image.photometric_interpretation not in _COLOURS:
        raise PixelFormatNotSupported("compressed pixels of this kind are not read")
    shape = (image.rows, image.columns, 3)
    try:
        if image.transfer_syntax_uid == RLELossless:
            check_rle_header(data, 3)
            planes = np.frombuffer(imagecodecs.dicomrle_decode(data, "<u1"), np.uint8)
            return np.moveaxis(planes.reshape(3, image.rows, image.columns), 0, -1)
        if image.transfer_syntax_uid not in CODECS:
            raise PixelFormatNotSupported("this compression is not read")
        read_size, decode = CODECS[image.transfer_syntax_uid]
        size = read_size(data)
        if (size.rows, size.columns, size.components, size.bits) != (*shape, 8):
            raise PixelDataUnreadable("the compressed image has another size than its header says")
        samples = decode(data)
    except (PixelDataUnreadable, PixelFormatNotSupported, MemoryError):
        raise
    except CodestreamInvalid as error:
        raise PixelDataUnreadable(f"the pixel data is damaged: {error}") from error
    except Exception as error:  # each codec has its own exceptions
        raise PixelDataUnreadable("the pixel data cannot be decompressed") from error
    if samples.shape != shape:
        raise PixelDataUnreadable("the decompressed image has another size than its header says")
    return samples
