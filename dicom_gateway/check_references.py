"""The gate: every reference of a result leads to a source image or to an object of the set, as what it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydicom.dataset import Dataset

from dicom_gateway.check_basis import CheckBasis, CheckedObject

_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+", re.ASCII)
_TRACKING_UID, _SOURCE_SERIES = "112040", "121232"
# What hospital systems made; results repeat it as it came and nobody here can look behind it.
_OF_OTHERS = frozenset(
    {"ReferencedStudySequence", "ReferencedPatientSequence", "ReferencedPerformedProcedureStepSequence",
     "ReferencedVisitSequence", "ReferencedRequestSequence"}
)  # fmt: skip
# Where an object lists, at its top, all that it refers to below; a list of replaced documents is one of its own.
_EVIDENCE = ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")
_SERIES = ("ReferencedSeriesSequence",)
_INDEX = {
    **dict.fromkeys(("SR", "SR2D", "TEXT", "KEYS", "KOS"), _EVIDENCE),
    **dict.fromkeys(("SEG", "PM", "GSPS"), _SERIES),
    "PDF": ("SourceInstanceSequence",),
}
_OF_DOCUMENTS = ("PredecessorDocumentsSequence", "IdenticalDocumentsSequence")
# Kinds that must list everything that the model read, not only what they draw on.
_WHOLE_EVIDENCE = ("SR", "SR2D", "TEXT", "PDF")


def reference_problems(one: CheckedObject, basis: CheckBasis) -> Iterator[str]:
    """Each reference of one object that does not resolve, and what its list of evidence lacks."""
    index = _INDEX.get(one.kind, ())
    indexed: set[str] = set()
    below: set[str] = set()
    problems: list[str] = []
    for path, item in one.content.items:
        if _OF_OTHERS.intersection(path):
            continue
        if path and "StudyInstanceUID" in item and item.StudyInstanceUID != basis.source.StudyInstanceUID:
            problems.append("it refers to another study")
        problems += _hierarchy_problems(item, basis)
        uid = item.get("ReferencedSOPInstanceUID") if path else None
        if uid is not None:
            problems += _resolve(item, str(uid), basis)
            if path[0] not in _OF_DOCUMENTS:
                (indexed if path[0] in index else below).add(str(uid))
    if index and not below <= indexed:
        problems.append("it refers to an instance that its list of evidence does not hold")
    if one.kind in _WHOLE_EVIDENCE and not basis.by_uid.keys() <= indexed:
        problems.append("its list of evidence does not hold every image that the model read")
    for uid in one.content.uids - basis.source_uids:
        if len(uid) > 64 or _UID.fullmatch(uid) is None:
            problems.append("a UID is not valid")
    yield from dict.fromkeys(problems)


def _hierarchy_problems(item: Dataset, basis: CheckBasis) -> Iterator[str]:
    """An item that names a series and instances below it."""
    series = item.get("SeriesInstanceUID")
    for keyword in ("ReferencedSOPSequence", "ReferencedInstanceSequence", "ReferencedImageSequence"):
        for nested in (item.get(keyword) or ()) if series else ():
            found = basis.known.get(str(nested.get("ReferencedSOPInstanceUID") or ""))
            if found is not None and found.series_instance_uid != series:
                yield "it refers to an instance as of another series"


def _resolve(item: Dataset, uid: str, basis: CheckBasis) -> Iterator[str]:
    found = basis.known.get(uid)
    if found is None:
        yield "it refers to an instance that is neither a source image nor an object of the set"
        return
    if item.get("ReferencedSOPClassUID") != found.sop_class_uid:
        yield "it refers to an instance as of another SOP class"
    frames = _numbers(item.get("ReferencedFrameNumber"))
    if any(not 1 <= number <= found.frame_count for number in frames):
        yield "it refers to a frame that does not exist"
    numbers = _numbers(item.get("ReferencedSegmentNumber"))
    if numbers and not set(numbers) <= _segments(uid, basis).keys():
        yield "it refers to a segment that does not exist"


def _numbers(value: Any) -> list[int]:
    if value is None or value == "":
        return []
    return [int(one) for one in value] if hasattr(value, "__iter__") else [int(value)]


def _segments(uid: str, basis: CheckBasis) -> Mapping[int, str]:
    """Segment number → tracking UID of the Segmentation with this SOP Instance UID."""
    found = basis.known.get(uid)
    return found.segments if found is not None else {}


def tracking_problems(basis: CheckBasis) -> Iterator[str]:
    """SR and SEG speak of the same finding under the same Tracking Unique Identifier."""
    reports = [one for one in basis.objects if one.kind in ("SR", "SR2D")]
    spoken_of: set[str] = set()
    for one in reports:
        for items in _groups(one):
            tracking = {str(item.get("UID")) for item in items if _name(item) == _TRACKING_UID}
            spoken_of |= tracking
            for item in items:
                yield from _of_segment(item, tracking, basis)
                if _name(item) == _SOURCE_SERIES and item.get("UID") != basis.source.SeriesInstanceUID:
                    yield "SR: the source series of a segment is not the one that the model read"
    segments = [
        segment
        for one in basis.objects
        if one.kind == "SEG"
        for segment in one.dataset.get("SegmentSequence") or ()
    ]
    if any(not segment.get("TrackingUID") or not segment.get("TrackingID") for segment in segments):
        yield "SEG: a segment has no tracking identifier"
    if reports and not {str(segment.get("TrackingUID")) for segment in segments} <= spoken_of:
        yield "SEG: the SR does not know the TrackingUID of a segment"
    drawn = {
        str(graphic.TrackingUID)
        for one in basis.objects
        if one.kind == "GSPS"
        for _, graphic in one.content.items
        if "TrackingUID" in graphic
    }
    if reports and not drawn <= spoken_of:
        yield "GSPS: the SR does not know the TrackingUID of a graphic"


def _groups(one: CheckedObject) -> list[list[Dataset]]:
    """The children of each container of a content tree."""
    return [
        list(item.get("ContentSequence") or ())
        for _, item in one.content_items()
        if item.ValueType == "CONTAINER"
    ]


def _of_segment(item: Dataset, tracking: set[str], basis: CheckBasis) -> Iterator[str]:
    for reference in item.get("ReferencedSOPSequence") or ():
        numbers = _numbers(reference.get("ReferencedSegmentNumber"))
        segments = _segments(str(reference.get("ReferencedSOPInstanceUID") or ""), basis)
        if any(number in segments and segments[number] not in tracking for number in numbers):
            yield "SR: a group and its segment have different tracking UIDs"


def _name(item: Dataset) -> str:
    """Code value of a content item's concept name."""
    return next((str(code.get("CodeValue") or "") for code in item.get("ConceptNameCodeSequence") or ()), "")
