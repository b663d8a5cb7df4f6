"""What the gate before delivery looks at: the objects of one result as they will leave, and what they stand on."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain

from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_gateway.result_context import NOT_REVIEWED
from study.answer import Image

DEPTH_MAX = 32
Path = tuple[str, ...]
"""Keywords of the sequences that lead to an item; empty for the data set itself."""


@dataclass(frozen=True)
class Content:
    """A data set taken apart once, for all rules.

    items: the data set and every item below it, each with its path. persons, uids: every value of VR PN and UI.
    """

    items: list[tuple[Path, Dataset]] = field(default_factory=list)
    persons: set[str] = field(default_factory=set)
    uids: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, dataset: Dataset) -> Content:
        made = cls()
        made._collect(dataset, ())
        return made

    def _collect(self, item: Dataset, path: Path) -> None:
        if len(path) > DEPTH_MAX:
            raise ValueError(f"items lie deeper than {DEPTH_MAX}")
        self.items.append((path, item))
        for element in item:
            if element.VR == "SQ":
                for nested in element.value:
                    self._collect(nested, (*path, element.keyword))
            elif element.VR in ("PN", "UI") and element.value:
                many = element.value if element.VM > 1 else [element.value]
                (self.persons if element.VR == "PN" else self.uids).update(str(value) for value in many)


@dataclass(frozen=True)
class CheckedObject:
    """One object of the set, read back from the bytes that will be sent."""

    kind: str
    dataset: Dataset
    size_bytes: int
    content: Content

    @classmethod
    def read(cls, kind: str, content: bytes) -> CheckedObject:
        """Raises what pydicom raises where the bytes are no DICOM file."""
        dataset = dcmread(io.BytesIO(content))
        return cls(kind, dataset, len(content), Content.of(dataset))

    def content_items(self) -> Iterator[tuple[Path, Dataset]]:
        """The items of an SR document's content tree."""
        return (
            (path, item)
            for path, item in self.content.items
            if "ValueType" in item and path[:1] in ((), ("ContentSequence",))
        )


@dataclass(frozen=True)
class Known:
    """An instance that a reference may name. segments: number → tracking UID, of a Segmentation."""

    sop_class_uid: str
    series_instance_uid: str
    frame_count: int = 1
    segments: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: Dataset) -> Known:
        """dataset: whole or a header."""
        return cls(
            str(dataset.get("SOPClassUID") or ""),
            str(dataset.get("SeriesInstanceUID") or ""),
            int(dataset.get("NumberOfFrames") or 1),
            {
                int(segment.get("SegmentNumber") or 0): str(segment.get("TrackingUID") or "")
                for segment in dataset.get("SegmentSequence") or ()
            },
        )


@dataclass(frozen=True)
class ReviewRules:
    """What a set that a person has reviewed is measured by beside the rest.

    reviewer: the one person more that it names, as PN. is_verified: whether the site takes the review as verification.
    """

    reviewer: str
    is_verified: bool = False


@dataclass(frozen=True)
class CheckBasis:
    """What a result set is measured by.

    sources: headers of what the model read, in slice order. image: what was made of them; None where nothing was read.
    predecessors: earlier objects that the set may name as replaced. others: further instances of the study that it may
    name, by SOP Instance UID. notice: what every series description says. review: None of what nobody has reviewed; of
    a review, predecessors are exactly the reports that it replaces, others the objects of the result that it is about.
    """

    objects: Sequence[CheckedObject]
    sources: Sequence[Dataset]
    model_name: str
    model_version: str
    image: Image | None = None
    predecessors: Sequence[Dataset] = ()
    others: Mapping[str, Known] = field(default_factory=dict)
    notice: str = NOT_REVIEWED
    review: ReviewRules | None = None

    @property
    def source(self) -> Dataset:
        """The one whose patient and study the set repeats."""
        return self.sources[0]

    @cached_property
    def source_content(self) -> Content:
        return Content.of(self.source)

    @cached_property
    def source_uids(self) -> set[str]:
        """Every UID that the sources hold; of the first all, of the others who they are."""
        keywords = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
        return self.source_content.uids | {
            str(header.get(keyword) or "") for header in self.sources for keyword in keywords
        }

    @cached_property
    def by_uid(self) -> dict[str, Dataset]:
        return {str(header.SOPInstanceUID): header for header in self.sources}

    @cached_property
    def known(self) -> dict[str, Known]:
        """Every instance that the set may refer to."""
        here = (one.dataset for one in self.objects)
        found = {
            str(one.get("SOPInstanceUID") or ""): Known.of(one)
            for one in chain(self.predecessors, self.sources, here)
        }
        return dict(self.others) | found
