"""Encoded frame -> stored values -> Hounsfield units, int16 (PS3.5 section 8, PS3.3 C.11.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from dicom_gateway.codestream import (
    CodestreamInvalid,
    FrameSize,
    check_rle_header,
    jpeg2000_frame_size,
    jpeg_frame_size,
)
from dicom_gateway.decode_errors import (
    HounsfieldUnknown,
    PixelDataUnreadable,
    PixelFormatNotSupported,
)

# Outside the field of view there is air, whatever number a scanner writes there.
PADDING_HU = -1024
# CT numbers fit 16 bits; a slope or intercept beyond these is a damaged header.
SLOPE_MAX = 1000.0
INTERCEPT_MAX = 100_000.0

NATIVE_SYNTAXES = frozenset(
    map(
        str,
        (
            ImplicitVRLittleEndian,
            ExplicitVRLittleEndian,
            ExplicitVRBigEndian,
            DeflatedExplicitVRLittleEndian,
        ),
    )
)
LOSSY_SYNTAXES = frozenset(map(str, (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000)))
_Decoder = Callable[[bytes], NDArray[Any]]
_SizeReader = Callable[[bytes], FrameSize]
# Lossless JPEG goes through libjpeg-turbo as well: the smaller decoders for it (liblj92) write out of bounds on
# damaged streams.
CODECS: dict[str, tuple[_SizeReader, _Decoder]] = {
    str(JPEGBaseline8Bit): (jpeg_frame_size, imagecodecs.jpeg8_decode),
    str(JPEGExtended12Bit): (jpeg_frame_size, imagecodecs.jpeg8_decode),
    str(JPEGLossless): (jpeg_frame_size, imagecodecs.jpeg8_decode),
    str(JPEGLosslessSV1): (jpeg_frame_size, imagecodecs.jpeg8_decode),
    str(JPEGLSLossless): (jpeg_frame_size, imagecodecs.jpegls_decode),
    str(JPEGLSNearLossless): (jpeg_frame_size, imagecodecs.jpegls_decode),
    str(JPEG2000Lossless): (jpeg2000_frame_size, imagecodecs.jpeg2k_decode),
    str(JPEG2000): (jpeg2000_frame_size, imagecodecs.jpeg2k_decode),
}
SUPPORTED_SYNTAXES = NATIVE_SYNTAXES | frozenset(CODECS) | {str(RLELossless)}


@dataclass(frozen=True)
class PixelFormat:
    """How samples of one instance are stored (PS3.3 C.7.6.3), checked on birth.

    padding: lowest and highest value, of Bits Allocated bits, that stand for "no pixel here"
        (PS3.3 C.7.5.1.1.2).
    """

    transfer_syntax_uid: str
    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    samples_per_pixel: int
    photometric_interpretation: str
    padding: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.rows < 1 or self.columns < 1:
            raise PixelFormatNotSupported("the image has no rows or no columns")
        if self.samples_per_pixel != 1 or not self.photometric_interpretation.startswith("MONOCHROME"):
            raise PixelFormatNotSupported("the pixels are in colour, not single grey values")
        if self.bits_allocated not in (8, 16):
            raise PixelFormatNotSupported(f"pixels of {self.bits_allocated} bits are not read")
        if not 1 <= self.bits_stored <= self.bits_allocated or self.high_bit != self.bits_stored - 1:
            raise PixelFormatNotSupported(
                f"{self.bits_allocated} bits allocated, {self.bits_stored} stored and high bit"
                f" {self.high_bit} contradict one another"
            )

    @property
    def frame_bytes(self) -> int:
        return self.rows * self.columns * self.bits_allocated // 8


@dataclass(frozen=True)
class Rescale:
    """Stored value x slope + intercept = Hounsfield units, checked on birth (PS3.3 C.11.1.1.2)."""

    slope: float
    intercept: float

    def __post_init__(self) -> None:
        if not 0 < abs(self.slope) <= SLOPE_MAX or abs(self.intercept) > INTERCEPT_MAX:
            raise HounsfieldUnknown("Rescale Slope or Rescale Intercept is impossible")


def decode_frame(encoded: bytes, pixel_format: PixelFormat, rescale: Rescale) -> NDArray[np.int16]:
    """One frame as (row, column) HU, rounded to the nearest whole number and clipped; padding becomes -1024.

    encoded: the frame's bytes without encapsulation. Raises `PixelDataUnreadable`.
    """
    stored, is_padding = decode_stored(encoded, pixel_format)
    hounsfield = _to_hounsfield(stored, rescale)
    if is_padding is not None:
        hounsfield[is_padding] = PADDING_HU
        if pixel_format.transfer_syntax_uid in LOSSY_SYNTAXES:
            # Compression changed padding values too; what is less than air is padding.
            np.maximum(hounsfield, PADDING_HU, out=hounsfield)
    return hounsfield


def decode_stored(
    encoded: bytes, pixel_format: PixelFormat
) -> tuple[NDArray[np.int32], NDArray[np.bool_] | None]:
    """The stored values of one frame, (row, column), and which of them are padding, None where there is none.

    Raises `PixelDataUnreadable`.
    """
    try:
        samples, bits = _decode(encoded, pixel_format)
    except (PixelDataUnreadable, MemoryError):
        raise
    except CodestreamInvalid as error:
        raise PixelDataUnreadable(f"the pixel data of a slice is damaged: {error}") from error
    except Exception as error:  # each codec has its own exceptions
        raise PixelDataUnreadable("the pixel data of a slice cannot be decompressed") from error
    if samples.shape != (pixel_format.rows, pixel_format.columns):
        raise PixelDataUnreadable("the decompressed image has another size than its header says")
    is_padding = None
    if pixel_format.padding is not None:
        low, high = pixel_format.padding
        # A padding value may lie outside Bits Stored, so it is looked for in all bits.
        whole = _low_bits(samples, max(bits, pixel_format.bits_allocated), pixel_format.is_signed)
        is_padding = (whole >= low) & (whole <= high)
    return _low_bits(samples, bits, pixel_format.is_signed), is_padding


def _decode(encoded: bytes, pixel_format: PixelFormat) -> tuple[NDArray[Any], int]:
    """Samples of at most 16 bits, and how many of their bits count."""
    syntax, shape = pixel_format.transfer_syntax_uid, (pixel_format.rows, pixel_format.columns)
    sample_bytes = pixel_format.bits_allocated // 8
    if syntax in NATIVE_SYNTAXES:
        byte_order = ">" if syntax == ExplicitVRBigEndian else "<"
        return np.frombuffer(encoded, f"{byte_order}u{sample_bytes}").reshape(shape), pixel_format.bits_stored
    if syntax == RLELossless:
        check_rle_header(encoded, sample_bytes)
        kind = f"<u{sample_bytes}"
        unpacked = np.frombuffer(imagecodecs.dicomrle_decode(encoded, kind), kind)
        return unpacked.reshape(shape), pixel_format.bits_stored
    read_size, decode = CODECS[syntax]
    size = read_size(encoded)
    if (size.rows, size.columns, size.components) != (*shape, 1) or size.bits > pixel_format.bits_allocated:
        raise PixelDataUnreadable(
            f"a compressed image declares {size.rows} x {size.columns} pixels of {size.bits} bits, its header"
            f" {shape[0]} x {shape[1]} of {pixel_format.bits_stored} bits"
        )
    bits = min(size.bits, pixel_format.bits_stored)
    samples = decode(encoded)
    # Sign extension by the codestream's own precision, so that all bits of a sample mean what they say.
    return _low_bits(samples, size.bits, pixel_format.is_signed) if size.bits < 16 else samples, bits


def _low_bits(samples: NDArray[Any], bits: int, is_signed: bool) -> NDArray[np.int32]:
    """The low `bits` bits of each sample, read as Pixel Representation says.

    A codestream's own sign is not asked: JPEG-LS and JPEG lossless have none, and JPEG 2000 encoders are
    known to contradict the header.
    """
    stored = samples.astype(np.int32)
    stored &= np.int32((1 << bits) - 1)
    if is_signed:
        sign = np.int32(1 << (bits - 1))
        stored ^= sign
        stored -= sign
    return stored


def _to_hounsfield(stored: NDArray[np.int32], rescale: Rescale) -> NDArray[np.int16]:
    if rescale.slope == 1.0 and rescale.intercept.is_integer():
        values: NDArray[Any] = np.add(stored, np.int32(rescale.intercept), out=stored)
    else:
        values = np.rint(stored * rescale.slope + rescale.intercept)
    limits = np.iinfo(np.int16)
    np.clip(values, limits.min, limits.max, out=values)
    return values.astype(np.int16)
