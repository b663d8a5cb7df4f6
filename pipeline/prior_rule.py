"""Which earlier studies of a patient are fetched for comparison: a rule, and the pure choice that it makes.

Identity comes before everything: a study whose patient may be another one is not fetched, and the reason says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

from dicom_gateway.archive_match import Match
from pipeline.errors import PriorsRuleInvalid

# Words of StudyDescription, SeriesDescription and BodyPartExamined, in lower case; a word counts where it begins one.
REGIONS: dict[str, tuple[str, ...]] = {
    "chest": ("chest", "thorax", "thorac", "lung", "pulmon", "hrct", "胸", "肺"),
    "abdomen": ("abdom", "liver", "kidney", "renal", "pancrea", "腹", "肝"),
    "pelvis": ("pelvi", "prostat", "bladder", "盆"),
    "head": ("head", "brain", "skull", "cranial", "cerebr", "schädel", "头", "颅", "脑"),
    "neck": ("neck", "hals", "thyroid", "颈"),
    "spine": ("spine", "lumbar", "cervical", "wirbel", "脊"),
    "breast": ("breast", "mamm", "乳"),
    "heart": ("heart", "cardi", "coronar", "herz", "心"),
    "extremity": (
        "knee",
        "hand",
        "wrist",
        "foot",
        "ankle",
        "elbow",
        "shoulder",
        "hip",
        "femur",
        "膝",
        "手",
        "足",
    ),
}
_MONTH_DAYS = 30.4375
_FIELDS = {"newest", "within_months", "images_max", "same_modality", "same_region", "regions"}


@dataclass(frozen=True)
class PriorsRule:
    """newest: how many at most. images_max: of one prior. regions: region → beginnings of words, lower case."""

    newest: int = 1
    within_months: int = 36
    images_max: int = 3000
    same_modality: bool = True
    same_region: bool = True
    regions: Mapping[str, Sequence[str]] = field(default_factory=lambda: REGIONS)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PriorsRule:
        """The priors part of a routing rule; raises `PriorsRuleInvalid` with what is wrong."""
        if unknown := set(value) - _FIELDS:
            raise PriorsRuleInvalid(f"priors: {min(unknown)} is not known")
        for name, low, high in (("newest", 1, 20), ("within_months", 1, 600), ("images_max", 1, 100_000)):
            number = value.get(name, low)
            if not isinstance(number, int) or isinstance(number, bool) or not low <= number <= high:
                raise PriorsRuleInvalid(f"priors: {name} is a whole number from {low} to {high}")
        for name in ("same_modality", "same_region"):
            if not isinstance(value.get(name, True), bool):
                raise PriorsRuleInvalid(f"priors: {name} is true or false")
        regions = value.get("regions", REGIONS)
        if not isinstance(regions, Mapping) or not all(
            isinstance(words, list | tuple) and all(isinstance(word, str) and word for word in words)
            for words in regions.values()
        ):
            raise PriorsRuleInvalid("priors: regions is a table of lists of words")
        lower = {region: tuple(word.lower() for word in words) for region, words in regions.items()}
        return cls(**{**value, "regions": lower})

    def as_json(self) -> dict[str, Any]:
        """As `from_json` reads it."""
        return asdict(self) | {"regions": {region: list(words) for region, words in self.regions.items()}}

    def regions_of(self, *texts: str) -> frozenset[str]:
        """The body regions that the words name; none where they name none."""
        text = " ".join(texts).lower()
        return frozenset(
            region
            for region, words in self.regions.items()
            if any(re.search(rf"(?<![a-zäöüß]){re.escape(word)}", text) for word in words)
        )


@dataclass(frozen=True)
class CurrentStudy:
    """The study that priors are wanted for; "" where a value is not known.

    issuer: of the Patient ID. modalities: of its series.
    """

    study_instance_uid: str
    patient_id: str
    issuer: str
    patient_name: str
    birth_date: str
    study_date: str
    modalities: frozenset[str]
    regions: frozenset[str]


@dataclass(frozen=True)
class Candidate:
    """An earlier study in the archive. why_not: the reason why it is not fetched; None when it is wanted."""

    match: Match
    why_not: str | None


def choose_priors(
    current: CurrentStudy, found: Sequence[tuple[Match, frozenset[str]]], rule: PriorsRule
) -> list[Candidate]:
    """found: each match with the regions that its descriptions name. Newest first; the study itself is left out."""
    others = [(match, regions) for match, regions in found if match.uid != current.study_instance_uid]
    others.sort(key=lambda one: (one[0].get("StudyDate"), one[0].get("StudyTime")), reverse=True)
    candidates: list[Candidate] = []
    wanted = 0
    for match, regions in others:
        why_not = why_another_patient(current, match) or _why_unfit(current, match, regions, rule)
        if why_not is None and wanted >= rule.newest:
            why_not = f"older than the newest {rule.newest}"
        wanted += why_not is None
        candidates.append(Candidate(match, why_not))
    return candidates


def why_another_patient(current: CurrentStudy, match: Match) -> str | None:
    """A Patient ID alone is not a person: issuer, birth date and name must not contradict it."""
    if match.get("PatientID") != current.patient_id:
        return "another Patient ID"
    if _differ(match.get("IssuerOfPatientID"), current.issuer):
        return "the Patient ID was issued by somebody else"
    if _differ(match.get("PatientBirthDate"), current.birth_date):
        return "the same Patient ID with another birth date"
    if _differ(_name(match.get("PatientName")), _name(current.patient_name)):
        return "the same Patient ID with another name"
    return None


def _why_unfit(current: CurrentStudy, match: Match, regions: frozenset[str], rule: PriorsRule) -> str | None:
    modalities = frozenset(filter(None, match.get("ModalitiesInStudy").split("\\")))
    age_days = _days_between(match.get("StudyDate"), current.study_date)
    if age_days is None:
        return "the dates of the studies are not known"
    if age_days < 0:
        return "later than the study"
    if age_days > rule.within_months * _MONTH_DAYS:
        return f"older than {rule.within_months} months"
    if rule.same_modality and not modalities & current.modalities:
        return "another modality"
    if rule.same_region and not current.regions:
        return "the body region of the study is not known"
    if rule.same_region and not regions & current.regions:
        return "another body region" if regions else "its body region is not known"
    if match.instance_count is not None and match.instance_count > rule.images_max:
        return f"{match.instance_count} images; the rule takes at most {rule.images_max}"
    return None


def _differ(one: str, other: str) -> bool:
    return bool(one and other) and one != other


def _name(text: str) -> str:
    """Family and given name of the first group (PS3.5 section 6.2.1), as far as they are told."""
    parts = [part.strip() for part in text.split("=")[0].casefold().split("^")[:2]]
    return "^".join(parts).rstrip("^")


def _days_between(earlier: str, later: str) -> int | None:
    try:
        return (_date(later) - _date(earlier)).days
    except ValueError:
        return None


def _date(text: str) -> date:
    return date(int(text[:4]), int(text[4:6]), int(text[6:8]))


def day(text: str) -> str:
    """DA text as people write a date: 2025-06-01; as it is where it is none."""
    try:
        return _date(text).isoformat()
    except ValueError:
        return text or "an unknown date"
