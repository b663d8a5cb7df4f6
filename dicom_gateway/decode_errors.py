"""Why there is no volume or radiograph. One class per fact; `code` is stable, the message is a sentence.

docs/decoding.md tells the same to users; a test compares the two.
"""

from __future__ import annotations

from typing import Any, ClassVar


class DecodeError(ValueError):
    """A series cannot be decoded to a volume or a radiograph.

    code: stable, upper case, shown with the status of the study.
    details: plain values that name what was found; no patient data, no UIDs.
    is_transient: the same series may decode later without any change to it.
    """

    code: ClassVar[str] = "DECODE_FAILED"
    is_transient: ClassVar[bool] = False

    def __init__(self, sentence: str, **details: Any) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.details = details

    def as_json(self) -> dict[str, Any]:
        return {"code": self.code, "sentence": self.sentence, "details": self.details}


class EmptySeries(DecodeError):
    """There is no image in the series."""

    code = "EMPTY_SERIES"


class InstanceUnreadable(DecodeError):
    """The header of an instance cannot be read, so the series is not whole."""

    code = "INSTANCE_UNREADABLE"


class NotCT(DecodeError):
    """The series holds something else than CT images."""

    code = "NOT_CT"


class NotARadiograph(DecodeError):
    """The object is not one computed or digital radiograph."""

    code = "NOT_A_RADIOGRAPH"


class LookupTableInvalid(DecodeError):
    """A lookup table of the header contradicts itself, so the image's brightness is unknown."""

    code = "LOOKUP_TABLE_INVALID"


class DifferentPatients(DecodeError):
    """The instances of one series name different patients."""

    code = "DIFFERENT_PATIENTS"


class TransferSyntaxNotSupported(DecodeError):
    """The pixel data is encoded in a way that we do not read."""

    code = "TRANSFER_SYNTAX_NOT_SUPPORTED"


class PixelFormatNotSupported(DecodeError):
    """Bits, samples or sign of the stored pixels are not those of a grey image that we read."""

    code = "PIXEL_FORMAT_NOT_SUPPORTED"


class PixelDataUnreadable(DecodeError):
    """The pixel data is missing, cut short, or contradicts the header."""

    code = "PIXEL_DATA_UNREADABLE"


class HounsfieldUnknown(DecodeError):
    """The header does not tell how stored values become Hounsfield units."""

    code = "HU_UNKNOWN"


class GeometryInvalid(DecodeError):
    """Position, orientation or pixel spacing is missing or impossible."""

    code = "GEOMETRY_INVALID"


class GeometryNotUniform(DecodeError):
    """The slices do not lie on one regular grid."""

    code = "GEOMETRY_NOT_UNIFORM"


class FramesOfReferenceDiffer(DecodeError):
    """The slices are given in different coordinate systems."""

    code = "FRAMES_OF_REFERENCE_DIFFER"


class NotAxial(DecodeError):
    """The slices are not axial."""

    code = "NOT_AXIAL"


class SingleSlice(DecodeError):
    """One slice is not a volume."""

    code = "SINGLE_SLICE"


class DuplicateSlices(DecodeError):
    """Different images lie at the same position and nothing tells which of them belong together."""

    code = "DUPLICATE_SLICES"


class MissingSlices(DecodeError):
    """Slices are missing between the first and the last one."""

    code = "MISSING_SLICES"


class GantryTilt(DecodeError):
    """What the header says about gantry tilt contradicts itself."""

    code = "GANTRY_TILT"


class TooLarge(DecodeError):
    """The volume, or the memory to decode it, exceeds the limits."""

    code = "TOO_LARGE"


class DecodeTimedOut(DecodeError):
    """Decoding took more time than its limit allows."""

    code = "DECODE_TIMED_OUT"


class DecoderCrashed(DecodeError):
    """The decoding process ended without an answer."""

    code = "DECODER_CRASHED"


class StorageFull(DecodeError):
    """There is no room for the decoded volume."""

    code = "STORAGE_FULL"
    is_transient = True


_KINDS: list[type[DecodeError]] = [DecodeError, *DecodeError.__subclasses__()]
ERRORS_BY_CODE: dict[str, type[DecodeError]] = {kind.code: kind for kind in _KINDS}


def error_from_json(record: dict[str, Any]) -> DecodeError:
    """The inverse of `DecodeError.as_json`."""
    kind = ERRORS_BY_CODE.get(str(record["code"]), DecodeError)
    return kind(str(record["sentence"]), **record["details"])
