"""From a result's findings to the cases that guidelines judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


def apply_guideline(chosen: ChosenGuideline, study: Study, findings: Sequence[Finding]) -> GuidelineRead:
    """The chosen guideline, applied to a result's findings."""
    notes, rank = [], chosen.guideline.categories.index
    for number, verdict in advise_on(chosen, study, findings).items():
        category = verdict.category if isinstance(verdict, Advice) else None
        notes.append(GuidelineNote(number, category, sentence(verdict, "en"), sentence(verdict, "zh")))
    given = [note.category for note in notes if note.category is not None]
    worst = max(given, key=rank) if given else None
    return GuidelineRead(chosen.guideline.title, chosen.guideline.source, worst, tuple(notes))


def advise_on(
    chosen: ChosenGuideline, study: Study, findings: Sequence[Finding]
) -> dict[int, Advice | NotApplicable | Abstains]:
    """By the finding's id. What only a physician can tell is unknown here, so the guideline may abstain."""
    age = age_years(study)
    subsolid = sum(_kind(finding) in _SUBSOLID for finding in findings)
    verdicts: dict[int, Advice | NotApplicable | Abstains] = {}
    for finding in findings:
        features, kind = finding.nodule, _kind(finding)
        alike = subsolid if kind in _SUBSOLID else len(findings) - subsolid
        case = Case(
            kind=kind,
            mean_diameter_mm=finding.mean_diameter_mm,
            volume_mm3=finding.volume_mm3,
            solid_part_mm=features.solid_part_mm if features else None,
            nodule_count=alike if kind is not None else None,
            course=course_of(finding.mean_diameter_mm, finding.comparison),
            is_juxtapleural_benign=False if _lies_free(finding) else None,
            setting=chosen.setting,
            age_years=age,
        )
        verdicts[finding.id] = advise(chosen.guideline, case)
    return verdicts


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


def _kind(finding: Finding) -> NoduleKind | None:
    return finding.nodule.kind if finding.nodule else None


def _lies_free(finding: Finding) -> bool:
    """Whether the nodule is known not to lie at the pleura; a fissure counts as pleura and is not seen by the distance,
    so this says only what lies at the chest wall."""
    distance = finding.nodule.pleura_distance_mm if finding.nodule else None
    return distance is not None and distance > 0
