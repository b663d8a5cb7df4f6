"""The contract's term: the span of several periods over which a yearly fee, volume or commitment is counted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from billing.contracts.yaml_reader import YamlMap
from billing.period import anchor_in, is_period_start


@dataclass(frozen=True)
class Term:
    """Terms of `months` follow each other from `starts_on`, the first day of a period."""

    months: int
    starts_on: date
    anchor_day: int

    def containing(self, day: date) -> tuple[date, date] | None:
        """[first day, end) of the term that holds `day`; None before the first."""
        if day < self.starts_on:
            return None
        passed = 12 * (day.year - self.starts_on.year) + day.month - self.starts_on.month
        number = passed // self.months
        if day < self._start(number):
            number -= 1
        elif day >= self._start(number + 1):
            number += 1
        return self._start(number), self._start(number + 1)

    def _start(self, number: int) -> date:
        months = 12 * self.starts_on.year + self.starts_on.month - 1 + number * self.months
        return anchor_in(months // 12, months % 12 + 1, self.anchor_day)


def read(top: YamlMap, anchor_day: int) -> Term | None:
    """`term`, where the contract has one."""
    if not top.has("term"):
        return None
    source = top.map("term")
    term = Term(source.integer("months", 1, 120), source.day("from"), anchor_day)
    if not is_period_start(term.starts_on, anchor_day):
        source.problem("from", "must be the first day of a period")
    source.finish()
    return term
