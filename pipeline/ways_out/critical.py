"""Which results a person should hear of at once."""

from __future__ import annotations

from pipeline.report_view import ReportView

_LABELS = frozenset({"pneumothorax"})
# Very suspicious, after Lung-RADS v2022 and the Chinese consensus in its manner.
_CATEGORIES = frozenset({"4B", "4X"})


def is_critical(view: ReportView) -> bool:
    """A positive statement that cannot wait, or a nodule in a guideline's most suspicious categories."""
    return any(row.is_positive and row.label in _LABELS for row in view.statements) or any(
        row.category in _CATEGORIES for row in view.findings
    )
