"""From a result's findings to the cases that guidelines judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.guidelines.advise import Abstains, Advice, Guideline, NotApplicable, advise
from pipeline.guidelines.inputs import Case, Course, Setting
from pipeline.guidelines.registry import GUIDELINES
from pipeline.guidelines.words import sentence
from pipeline.patient_age import age_years
from study.findings import Finding
from study.nodule import Comparison, NoduleKind
from study.study import Study

_GROWTH_MM, _GROWTH_DAYS = 1.5, 366
_SUBSOLID = (NoduleKind.PART_SOLID, NoduleKind.GROUND_GLASS)


@dataclass(frozen=True)
class ChosenGuideline:
    """What a tenant has chosen. setting: why its examinations are made, where that is the same for all of them."""

    guideline: Guideline
    setting: Setting | None


@dataclass(frozen=True)
class GuidelineNote:
    """What the guideline says of one finding. category: None where it says nothing. en, zh: the same sentence."""

    finding_id: int
    category: str | None
    en: str
    zh: str


@dataclass(frozen=True)
class GuidelineRead:
    """A guideline applied to a result, as a report keeps it. worst: the most pressing category of all findings."""

    title: str
    source: str
    worst: str | None
    notes: tuple[GuidelineNote, ...]

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> GuidelineRead:
        return cls(**{**record, "notes": tuple(GuidelineNote(**note) for note in record["notes"])})

    def category_of(self, finding_id: int) -> str | None:
        note = self.note_of(finding_id)
        return note.category if note is not None else None

    def note_of(self, finding_id: int) -> GuidelineNote | None:
        return next((note for note in self.notes if note.finding_id == finding_id), None)


def chosen_guideline(name: str | None, setting: str | None) -> ChosenGuideline | None:
    """What a tenant's row says; None where it has chosen none."""
    return ChosenGuideline(GUIDELINES[name], Setting(setting) if setting else None) if name else None


def setting_of(tenant: Mapping[str, Any]) -> Setting | None:
    """Why a tenant's examinations are made, where that is the same for all of them."""
    return Setting(tenant["guideline_setting"]) if tenant["guideline_setting"] else None


def apply_guideline(chosen: ChosenGuideline, study: Study, findings: Sequence[Finding]) -> GuidelineRead:
    """The chosen guideline, applied to a result's findings."""
    notes = [note_of(number, verdict) for number, verdict in advise_on(chosen, study, findings).items()]
    worst = worst_of(chosen.guideline, [note.category for note in notes])
    return GuidelineRead(chosen.guideline.title, chosen.guideline.source, worst, tuple(notes))


def note_of(number: int, verdict: Advice | NotApplicable | Abstains) -> GuidelineNote:
    """What is said of the finding of this number."""
    category = verdict.category if isinstance(verdict, Advice) else None
    return GuidelineNote(number, category, sentence(verdict, "en"), sentence(verdict, "zh"))


def worst_of(guideline: Guideline, categories: Sequence[str | None]) -> str | None:
    """The most pressing of those that were given."""
    given = [one for one in categories if one is not None]
    return max(given, key=guideline.categories.index) if given else None


def counted(cases: Sequence[Case]) -> list[Case]:
    """All nodules of an examination, each with how many of its class there are."""
    subsolid = sum(case.kind in _SUBSOLID for case in cases)
    others = len(cases) - subsolid
    return [
        replace(case, nodule_count=(subsolid if case.kind in _SUBSOLID else others))
        if case.kind is not None
        else case
        for case in cases
    ]


def advise_on(
    chosen: ChosenGuideline, study: Study, findings: Sequence[Finding]
) -> dict[int, Advice | NotApplicable | Abstains]:
    """By the finding's id. What only a physician can tell is unknown here, so the guideline may abstain."""
    age = age_years(study)
    cases = counted([_case(finding, chosen.setting, age) for finding in findings])
    return {finding.id: advise(chosen.guideline, case) for finding, case in zip(findings, cases, strict=True)}


def _case(finding: Finding, setting: Setting | None, age: float | None) -> Case:
    features = finding.nodule
    return Case(
        kind=features.kind if features else None,
        mean_diameter_mm=finding.mean_diameter_mm,
        volume_mm3=finding.volume_mm3,
        solid_part_mm=features.solid_part_mm if features else None,
        course=course_of(finding.mean_diameter_mm, finding.comparison),
        is_juxtapleural_benign=lies_free(features.pleura_distance_mm if features else None),
        setting=setting,
        age_years=age,
    )


def course_of(mean_diameter_mm: float, comparison: Comparison | None) -> Course | None:
    """Growth as Lung-RADS v2022 defines it. None where the earlier study is too old to tell."""
    if comparison is None:
        return Course.BASELINE
    if comparison.state == "new":
        return Course.NEW
    if comparison.mean_diameter_mm is None:
        return None
    if mean_diameter_mm - comparison.mean_diameter_mm <= _GROWTH_MM:
        return Course.STABLE
    return Course.GROWING if comparison.days is not None and comparison.days <= _GROWTH_DAYS else None


def lies_free(pleura_distance_mm: float | None) -> bool | None:
    """False, no benign nodule of the pleura, where it is known not to lie there. A fissure counts as pleura and is not
    seen by the distance, so this says only what lies at the chest wall."""
    return False if pleura_distance_mm is not None and pleura_distance_mm > 0 else None
