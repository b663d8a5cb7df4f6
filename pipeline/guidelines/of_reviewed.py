"""A guideline applied anew to what a reader has left of a result: rejected findings gone, changed ones with the
reader's values, added ones counted. What the reader did not say of a finding is unknown, as everywhere (`advise`).
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.guidelines.advise import advise
from pipeline.guidelines.inputs import Case, Course, Setting
from pipeline.guidelines.of_findings import (
    GuidelineNote,
    GuidelineRead,
    counted,
    course_of,
    lies_free,
    note_of,
    worst_of,
)
from pipeline.guidelines.registry import GUIDELINES
from pipeline.patient_age import age_of, date_of
from pipeline.report_view import FindingRow, ReportView
from study.nodule import Comparison, NoduleKind
from study.review import Review, Verdict, VerdictKind

_REJECTED = ("The reader rejected this finding: it has no category.", "阅片者已否定该所见：无分类。")
_CHANGED = ("By the reader's values: ", "按阅片者给出的数值：")
_NOT_KNOWN = (
    "The reader changed findings, and this software no longer applies the guideline: a physician gives the category.",
    "阅片者已修改所见，且本软件不再应用该指南：须由医师给出分类。",
)


def read_anew(
    read: GuidelineRead, view: ReportView, review: Review, setting: Setting | None
) -> GuidelineRead:
    """The guideline of the report on the findings as the review left them. view: its rows know their tracking UIDs.

    The worst category is given only where each finding that the reader added has one: those have no row that says what
    is missing.
    """
    guideline = next((one for one in GUIDELINES.values() if one.title == read.title), None)
    if guideline is None:
        notes = tuple(replace(one, category=None, en=_NOT_KNOWN[0], zh=_NOT_KNOWN[1]) for one in read.notes)
        return replace(read, notes=notes, worst=None)
    said = {row.id: review.of(row.tracking_uid) for row in view.findings}
    stand = [row for row in view.findings if not _is(said[row.id], VerdictKind.REJECT)]
    measured = [one for one in review.missed if one.size_mm is not None]
    age = age_of(view.patient_age, view.patient_birth_date, view.study_date)
    cases = [_standing(row, said[row.id], view, setting, age) for row in stand]
    cases += [_added(one, view, setting, age) for one in measured]
    verdicts = [advise(guideline, case) for case in counted(cases)]
    notes_by_row = {
        row.id: _by_reader(note_of(row.id, verdict), said[row.id])
        for row, verdict in zip(stand, verdicts, strict=False)
    }
    notes = tuple(
        notes_by_row.get(row.id, GuidelineNote(row.id, None, _REJECTED[0], _REJECTED[1]))
        for row in view.findings
    )
    added = [note_of(0, verdict).category for verdict in verdicts[len(stand) :]]
    is_whole = len(measured) == len(review.missed) and None not in added
    categories = [note.category for note in notes]
    return replace(read, notes=notes, worst=worst_of(guideline, [*categories, *added]) if is_whole else None)


def _is(verdict: Verdict | None, kind: VerdictKind) -> bool:
    return verdict is not None and verdict.kind is kind


def _by_reader(note: GuidelineNote, verdict: Verdict | None) -> GuidelineNote:
    if not _is(verdict, VerdictKind.EDIT):
        return note
    return replace(note, en=f"{_CHANGED[0]}{note.en}", zh=f"{_CHANGED[1]}{note.zh}")


def _standing(
    row: FindingRow, verdict: Verdict | None, view: ReportView, setting: Setting | None, age: float | None
) -> Case:
    """A finding of the model, with the reader's size and type where there are any."""
    changed = verdict if _is(verdict, VerdictKind.EDIT) else None
    size_mm = changed.size_mm if changed is not None else None
    kind = changed.nodule_kind if changed is not None else None
    diameter_mm = row.mean_diameter_mm if size_mm is None else size_mm
    solid_mm = row.solid_part_mm if kind is None else None
    return Case(
        kind=kind or (NoduleKind(row.kind) if row.kind is not None else None),
        mean_diameter_mm=diameter_mm,
        volume_mm3=row.volume_mm3 if size_mm is None else None,
        solid_part_mm=solid_mm if solid_mm is None or solid_mm <= diameter_mm else None,
        course=course_of(diameter_mm, _comparison(row, view)),
        is_juxtapleural_benign=lies_free(row.pleura_distance_mm),
        setting=setting,
        age_years=age,
    )


def _added(verdict: Verdict, view: ReportView, setting: Setting | None, age: float | None) -> Case:
    """Where the model compared with a prior, nobody looked there for what the reader added."""
    assert verdict.size_mm is not None
    return Case(
        kind=verdict.nodule_kind,
        mean_diameter_mm=verdict.size_mm,
        course=None if view.prior_study_date else Course.BASELINE,
        setting=setting,
        age_years=age,
    )


def _comparison(row: FindingRow, view: ReportView) -> Comparison | None:
    if row.prior is None:
        return None
    made, before = date_of(view.study_date), date_of(view.prior_study_date)
    days = (made - before).days if made is not None and before is not None else None
    return Comparison(row.prior.state, view.prior_study_date, days, row.prior.mean_diameter_mm)
