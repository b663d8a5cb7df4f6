"""Which findings put a study at the head of the work list. The rules are the same for all and stand on the page.

Computed on what the model gives and what the tenant's guideline says of it; it delays nothing and hides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.guidelines.of_findings import GuidelineRead
from study.answer import Answer

_ACTIONABLE = "Larson et al., J Am Coll Radiol 2014;11(6):552-558 (ACR Actionable Reporting Work Group)"


@dataclass(frozen=True)
class CriticalRule:
    """code: as stored with a result. name: what the page calls the finding; says: the rule. Both are keys of the
    portal's words."""

    code: str
    name: str
    says: str
    source: str
    holds: Callable[[Answer, GuidelineRead | None], bool]


def _category(title: str, *categories: str) -> Callable[[Answer, GuidelineRead | None], bool]:
    def holds(_answer: Answer, guideline: GuidelineRead | None) -> bool:
        return guideline is not None and guideline.title == title and guideline.worst in categories

    return holds


def _positive(label: str) -> Callable[[Answer, GuidelineRead | None], bool]:
    def holds(answer: Answer, _guideline: GuidelineRead | None) -> bool:
        return any(one.label == label and one.is_positive for one in answer.classifications)

    return holds


def _is_mass(answer: Answer, _guideline: GuidelineRead | None) -> bool:
    return any(one.nodule is not None and one.long_axis_mm > 30 for one in answer.findings)


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
    return [rule.code for rule in CRITICAL_RULES if rule.holds(answer, guideline)]


def rules_of(codes: Sequence[str]) -> list[CriticalRule]:
    """The rules of stored codes; one that is no longer in the table is left out."""
    return [rule for rule in CRITICAL_RULES if rule.code in codes]
