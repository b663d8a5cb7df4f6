"""What a contract says about credit notes, disputes and reminders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from billing.contracts.yaml_reader import YamlMap
from billing.money import Money, to_money

LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class ReminderTerm:
    """level: from 1. days_after_due: the reminder is due from that many days after the due day. text: by language."""

    level: int
    days_after_due: int
    text: Mapping[str, str]


@dataclass(frozen=True)
class DocumentTerms:
    """approval_above: credits of more, tax included, in major units, need a second person; None: none do.

    dispute_window_days: a line can be disputed up to that many local days after the day of issue.
    reminders: by days_after_due, ascending.
    """

    approval_above: Decimal | None = None
    dispute_window_days: int = 30
    reminders: tuple[ReminderTerm, ...] = ()

    def approval_limit(self, currency: str) -> Money | None:
        return None if self.approval_above is None else to_money(Fraction(self.approval_above), currency)


NONE = DocumentTerms()
"""A contract that says nothing about them."""


def read(top: YamlMap) -> DocumentTerms:
    """The sections `credits`, `disputes` and `dunning` of a contract; all optional."""
    approval_above, window = None, DocumentTerms.dispute_window_days
    if top.has("credits"):
        source = top.map("credits")
        approval_above = source.decimal("approval_above")
        source.finish()
    if top.has("disputes"):
        source = top.map("disputes")
        window = source.integer("window_days", 0, 3650)
        source.finish()
    return DocumentTerms(approval_above, window, _reminders(top) if top.has("dunning") else ())


def _reminders(top: YamlMap) -> tuple[ReminderTerm, ...]:
    terms: list[ReminderTerm] = []
    for source in top.maps("dunning"):
        days = source.integer("days_after_due", 1, 3650)
        if terms and days <= terms[-1].days_after_due:
            source.problem("days_after_due", "must be later than in the reminder above")
        texts = source.map("text")
        terms.append(ReminderTerm(len(terms) + 1, days, {key: texts.text(key) for key in LANGUAGES}))
        texts.finish()
        source.finish()
    return tuple(terms)
