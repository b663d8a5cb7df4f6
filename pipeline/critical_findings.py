"""Which findings put a study at the head of the work list. The rules are the same for all and stand on the page.

Computed on what the model gives and what the tenant's guideline says of it; it delays nothing and hides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.guidelines.of_findings import GuidelineRead
from pipeline.report_view import ReportView
from study.answer import Answer
from study.review import Review, VerdictKind

_ACTIONABLE = "Larson et al., J Am Coll Radiol 2014;11(6):552-558 (ACR Actionable Reporting Work Group)"


@dataclass(frozen=True)
class _Said:
    """What the rules look at. positive: labels of statements. nodule_mm: the longest axis of all nodules."""

    positive: frozenset[str]
    nodule_mm: float
    guideline: GuidelineRead | None


@dataclass(frozen=True)
class CriticalRule:
    """code: as stored with a result. name: what the page calls the finding; says: the rule. Both are keys of the
    portal's words."""

    code: str
    name: str
    says: str
    source: str
    holds: Callable[[_Said], bool]


def _category(title: str, *categories: str) -> Callable[[_Said], bool]:
    def holds(said: _Said) -> bool:
        read = said.guideline
        return read is not None and read.title == title and read.worst in categories

    return holds


def _positive(label: str) -> Callable[[_Said], bool]:
    return lambda said: label in said.positive


def _is_mass(said: _Said) -> bool:
    return said.nodule_mm > 30


CRITICAL_RULES = (
    CriticalRule(
        "pneumothorax", "pneumothorax", "pneumothorax at or above its threshold", _ACTIONABLE,
        _positive("pneumothorax"),
    ),
    CriticalRule(
        "lung_rads_4b", "Lung-RADS 4B", "Lung-RADS category 4B or 4X", "Christensen et al., Chest 2024;165(3):738-753",
        _category("Lung-RADS v2022", "4B", "4X"),
    ),
    CriticalRule(
        "c_lung_rads_4", "C-Lung-RADS 4", "C-Lung-RADS category 4",
        "Wang et al., Nature Medicine 2024;30(11):3184-3195",
        _category("C-Lung-RADS", "4"),
    ),
    CriticalRule(
        "lung_mass", "lung mass", "a lung lesion longer than 30 mm (a mass)",
        "Bankier et al., Radiology 2024;310(2):e232558 (Fleischner Society glossary)",
        _is_mass,
    ),
)  # fmt: skip


def critical_codes(answer: Answer, guideline: GuidelineRead | None) -> list[str]:
    """The codes of the rules that hold for a result, in the order of the table."""
    positive = frozenset(one.label for one in answer.classifications if one.is_positive)
    nodules = (one.long_axis_mm for one in answer.findings if one.nodule is not None)
    return _codes(_Said(positive, max(nodules, default=0.0), guideline))


def critical_after_review(view: ReportView, review: Review) -> list[str]:
    """The same of a report with its review: without what the reader rejected, with what was changed and added."""
    rejected = {one.finding_uid for one in review.verdicts if one.kind is VerdictKind.REJECT}
    sizes = {one.finding_uid: one.size_mm for one in review.verdicts if one.size_mm is not None}
    stand = [one for one in view.findings if one.kind is not None and one.tracking_uid not in rejected]
    nodules = [sizes.get(one.tracking_uid, one.long_axis_mm) for one in stand]
    nodules += [one.size_mm or 0.0 for one in review.missed if one.label in ("", "nodule")]
    positive = [one.label for one in view.statements if one.is_positive and one.tracking_uid not in rejected]
    positive += [one.label for one in review.missed]
    return _codes(_Said(frozenset(positive), max(nodules, default=0.0), view.guideline))


def _codes(said: _Said) -> list[str]:
    return [rule.code for rule in CRITICAL_RULES if rule.holds(said)]


def rules_of(codes: Sequence[str]) -> list[CriticalRule]:
    """The rules of stored codes; one that is no longer in the table is left out."""
    return [rule for rule in CRITICAL_RULES if rule.code in codes]
