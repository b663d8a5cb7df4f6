"""What an archive answers to a query, C-FIND and QIDO-RS alike: bounded, as text, with the reason of a gap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from study.errors import InvalidUID
from study.identifiers import validate_uid

Level = Literal["STUDY", "SERIES", "IMAGE"]
VALUE_CHARACTERS_MAX = 1024

UID_KEYWORD: dict[Level, str] = {
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}
COUNT_KEYWORD: dict[Level, str] = {
    "STUDY": "NumberOfStudyRelatedInstances",
    "SERIES": "NumberOfSeriesRelatedInstances",
    "IMAGE": "",
}
# PS3.4 tables C.6-1 to C.6-4: the keys that are asked back at each level of the Study Root model.
RETURN_KEYS: dict[Level, tuple[str, ...]] = {
    "STUDY": (
        "StudyInstanceUID",
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "StudyDescription",
        "ModalitiesInStudy",
        "PatientID",
        "IssuerOfPatientID",
        "PatientName",
        "PatientBirthDate",
        "PatientSex",
        "NumberOfStudyRelatedInstances",
    ),
    "SERIES": (
        "SeriesInstanceUID",
        "SeriesNumber",
        "SeriesDescription",
        "Modality",
        "BodyPartExamined",
        "NumberOfSeriesRelatedInstances",
    ),
    "IMAGE": ("SOPInstanceUID", "SOPClassUID", "InstanceNumber"),
}


@dataclass(frozen=True)
class QueryLimits:
    """How much of an answer is taken. bytes_max: of the answer as a whole; time_s: from call to last match."""

    matches_max: int = 500
    time_s: float = 30.0
    bytes_max: int = 32 * 1024 * 1024


USUAL_LIMITS = QueryLimits()


@dataclass(frozen=True)
class Match:
    """One match. values: keyword → text, several values joined by a backslash; nothing in it is trusted.

    uid: of the level that was asked for, valid by form.
    """

    level: Level
    uid: str
    values: Mapping[str, str]

    def get(self, keyword: str) -> str:
        return self.values.get(keyword, "")

    @property
    def instance_count(self) -> int | None:
        """Number of study or series related instances; None where the archive does not say."""
        text = self.get(COUNT_KEYWORD[self.level]).strip()
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


@dataclass(frozen=True)
class QueryAnswer:
    """What a query came to.

    error: why the answer is missing or incomplete; None when the archive finished.
    unusable: matches that could not be read or name no valid UID; they are left out.
    """

    matches: tuple[Match, ...]
    error: str | None
    unusable: int = 0


def make_match(level: Level, values: Mapping[str, str]) -> Match | None:
    """A match from its texts; None when it does not name what it found."""
    texts = {keyword: text[:VALUE_CHARACTERS_MAX].strip(" \0") for keyword, text in values.items()}
    try:
        return Match(level, validate_uid(texts.get(UID_KEYWORD[level], "")), texts)
    except InvalidUID:
        return None
