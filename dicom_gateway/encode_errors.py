"""What can keep a result from becoming DICOM objects."""

from __future__ import annotations


class EncodeError(ValueError):
    """A result cannot be written as DICOM objects."""

    code = "ENCODE_FAILED"


class SourceHeadersIncomplete(EncodeError):
    """The source headers lack what every result object must repeat: study, series or instance identity."""

    code = "SOURCE_HEADERS_INCOMPLETE"

    def __init__(self, keyword: str) -> None:
        super().__init__(f"the source headers have no {keyword}")
        self.keyword = keyword


class SourceHeadersMixed(EncodeError):
    """The source headers come from more than one study or series."""

    code = "SOURCE_HEADERS_MIXED"


class FindingSliceUnknown(EncodeError):
    """A finding names a slice that is not among the source headers."""

    code = "FINDING_SLICE_UNKNOWN"

    def __init__(self, finding_id: int) -> None:
        super().__init__(f"finding {finding_id} was measured on a slice that is not among the source headers")
        self.finding_id = finding_id


class SliceGeometryUnknown(EncodeError):
    """The source slice of a finding has no position, orientation or pixel spacing."""

    code = "SLICE_GEOMETRY_UNKNOWN"

    def __init__(self, keyword: str) -> None:
        super().__init__(f"the measured slice has no usable {keyword}")
        self.keyword = keyword


class SegmentOutsideVolume(EncodeError):
    """A segment does not lie inside the volume it was found in."""

    code = "SEGMENT_OUTSIDE_VOLUME"

    def __init__(self, label: str) -> None:
        super().__init__(f"the segment {label!r} reaches outside the volume")


class InvalidResultContext(EncodeError):
    """A result is described in a way that no object can carry: empty names, a time without zone."""

    code = "INVALID_RESULT_CONTEXT"


class ReviewedPlaceUnknown(EncodeError):
    """A finding that a reader added lies on an image that the result does not list as its source."""

    code = "REVIEWED_PLACE_UNKNOWN"

    def __init__(self) -> None:
        super().__init__("a finding that was added lies on an image that the result does not list")
