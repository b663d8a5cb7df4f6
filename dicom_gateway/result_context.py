"""ResultContext: everything that the objects of one result say together."""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from pydicom.dataset import Dataset

from dicom_gateway.encode_errors import InvalidResultContext, SourceHeadersIncomplete, SourceHeadersMixed
from dicom_gateway.result_words import Words
from dicom_gateway.result_words_zh import ChineseWords
from study.answer import Classification, Image, Structure
from study.findings import Finding
from study.nodule import PriorRead
from study.volume import Volume

NOT_REVIEWED = "AI result, not reviewed"
_SERIES_NUMBER_BASE = 9000
# One digit: revisions are tens.
_SERIES_OFFSET = {
    "SR": 1,
    "SEG": 2,
    "PDF": 3,
    "KOS": 4,
    "PM": 5,
    "KEYS": 6,
    "GSPS": 7,
    "SC": 8,
    "SR2D": 9,
    "TEXT": 0,
}
_LONG_STRING_MAX = 64
_OFFSET = re.compile(r"([+-])(\d{2})(\d{2})", re.ASCII)
# Names UIDs under 2.25 (PS3.5 section B.2); any fixed UUID serves, this one was drawn once.
_NAMESPACE = uuid.UUID("6f0d2b3e-6c1f-4f8e-9d5a-0b8f4f6d7a11")


@dataclass(frozen=True)
class GuidelineWords:
    """A guideline applied to a result, in the result's language.

    worst: the most pressing category, None where none was given. notes: for each finding its id and the sentence that
    names the rule, or what is missing for one.
    """

    title: str
    source: str
    worst: str | None
    notes: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class ResultContext:
    """One result of one model on one series or radiograph.

    uid_seed: what the UIDs are derived from beside source, model and revision; is written nowhere. It must differ
        where the content differs: by the digest of what the model read, say.
    image: what the model read; None of a study that was refused.
    source_headers: datasets without pixels in slice order; an enhanced multi-frame source is one dataset.
    findings: highest score first; empty for a negative result. classifications, structures, prior: see
        `study.answer`.
    model_name, model_version, weights_sha256, publisher: who made the result.
    clearance_status, intended_use: the manifest's sentences, shown as they are.
    created_at: aware; the moment of the inference. The same context gives the same objects byte for byte.
    revision: 1 for the first result of this model on this study, then counting up.
    finding_mm: smallest and largest diameter of what the model was made to find, None where it does not say.
    operating_threshold: score from which on the model reports a finding, None when it has none.
    guideline: what a guideline that the tenant has chosen says.
    kinds: of the objects that are made of it.
    caveats: sentences, in the result's language, on whether the model is made for this patient.
    outlines: whether the model outlines structures and speaks of no finding, also where it outlined none.
    institution: who runs the device, if the site wants it in the results.
    language: of sentences and of the meanings of codes in the SR and on pictures, "en" or "zh".
    predecessors: headers of the delivered objects of this model that this revision replaces.
    """

    uid_seed: str
    source_headers: Sequence[Dataset]
    image: Image | None
    findings: tuple[Finding, ...]
    model_name: str
    model_version: str
    weights_sha256: str
    publisher: str
    clearance_status: str
    intended_use: str
    created_at: datetime
    revision: int = 1
    operating_threshold: float | None = None
    institution: str = ""
    language: str = "en"
    predecessors: Sequence[Dataset] = ()
    classifications: tuple[Classification, ...] = ()
    structures: tuple[Structure, ...] = ()
    prior: PriorRead | None = None
    finding_mm: tuple[float, float] | None = None
    guideline: GuidelineWords | None = None
    kinds: frozenset[str] = frozenset()
    outlines: bool = False
    caveats: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = (self.uid_seed, self.model_name, self.model_version, self.weights_sha256, self.publisher)
        if not all(name.strip() for name in names):
            raise InvalidResultContext("a result needs a seed, model name, version, digest, publisher")
        if self.created_at.tzinfo is None:
            raise InvalidResultContext("created_at has no time zone")
        if self.revision < 1:
            raise InvalidResultContext("revisions count from 1")
        if not self.source_headers:
            raise InvalidResultContext("a result needs the headers of its source series")
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
            values = {str(header.get(keyword) or "") for header in self.source_headers}
            if "" in values:
                raise SourceHeadersIncomplete(keyword)
            if len(values) > 1:
                raise SourceHeadersMixed(f"the source headers have {len(values)} values of {keyword}")
        for keyword in ("SOPInstanceUID", "SOPClassUID"):
            if not all(header.get(keyword) for header in self.source_headers):
                raise SourceHeadersIncomplete(keyword)

    @property
    def volume(self) -> Volume:
        """The image of a result on a series of slices."""
        assert isinstance(self.image, Volume)
        return self.image

    @property
    def study_instance_uid(self) -> str:
        return str(self.source_headers[0].StudyInstanceUID)

    @property
    def source_series_instance_uid(self) -> str:
        return str(self.source_headers[0].SeriesInstanceUID)

    @property
    def device_uid(self) -> str:
        """UID of the model as an observer: the same for each result of the same version and weights."""
        return device_uid(self.model_name, self.model_version, self.weights_sha256)

    def uid(self, role: str) -> str:
        """UID of one part of this result, derived and never random, so that a repeated step repeats it."""
        source = (self.uid_seed, self.study_instance_uid, self.source_series_instance_uid)
        model = (self.model_name, self.model_version, self.weights_sha256)
        return derived_uid("result", *source, *model, str(self.revision), role)

    def predecessors_of(self, sop_class_uid: str) -> list[Dataset]:
        """The reports of one SOP class that this result replaces."""
        return [one for one in self.predecessors if one.SOPClassUID == sop_class_uid]

    def tracking_id(self, finding: Finding) -> str:
        """Human-readable tracking identifier, the same in SR and SEG (unique within the result)."""
        return f"{self.model_name} finding {finding.id}"

    def structure_tracking_id(self, structure: Structure) -> str:
        """The same of a structure."""
        return f"{self.model_name} {structure.label}"

    def statement_tracking_id(self, statement: Classification) -> str:
        """The same of a statement about a whole image."""
        return f"{self.model_name} {statement.title}"

    @property
    def words(self) -> Words:
        """The sentences of the result's language."""
        return ChineseWords() if self.language == "zh" else Words()

    @property
    def local_created_at(self) -> datetime:
        """`created_at` in the zone of the source images when they state one, else as given.

        Timezone Offset From UTC governs every date and time of a dataset (PS3.3 C.12.1.1.8), also those
        copied from the study, so results never bring an offset that their source does not have.
        """
        minutes = utc_offset_minutes(self.source_headers[0])
        if minutes is None:
            return self.created_at
        return self.created_at.astimezone(timezone(timedelta(minutes=minutes)))

    @property
    def clearance_words(self) -> str:
        """The clearance in the few words that fit a series description."""
        cleared = not self.clearance_status.casefold().startswith("not cleared")
        return "see clearance" if cleared else "not cleared"

    def series_description(self, kind: str) -> str:
        """Series Description (LO, 64 characters): the warning is never the part that is cut."""
        warning = f"{NOT_REVIEWED}, {self.clearance_words}"
        head = f"{self.model_name} {self.model_version} {kind}"
        return f"{head[: _LONG_STRING_MAX - len(warning) - 2]}: {warning}"

    def series_number(self, kind: str) -> int:
        """Far above a scanner's numbers, so that result series stand last in a viewer's list."""
        return _SERIES_NUMBER_BASE + 10 * self.revision + _SERIES_OFFSET[kind]


def device_uid(model_name: str, model_version: str, weights_sha256: str) -> str:
    """UID of a model as an observer, in DICOM objects and messages alike."""
    return derived_uid("device", model_name, model_version, weights_sha256)


def derived_uid(*parts: str) -> str:
    """A UID under 2.25; parts are joined with a character that none of them holds."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(31).join(parts)).int}"


def utc_offset_minutes(dataset: Dataset) -> int | None:
    """Timezone Offset From UTC of a dataset in minutes; None where it states none that can be."""
    match = _OFFSET.fullmatch(str(dataset.get("TimezoneOffsetFromUTC") or "").strip())
    if match is None:
        return None
    minutes = (-1 if match[1] == "-" else 1) * (60 * int(match[2]) + int(match[3]))
    return minutes if abs(minutes) <= 14 * 60 else None
