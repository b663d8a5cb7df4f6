"""The geometry of plots, which `charts.html` draws as SVG: shape and length tell all, colour only repeats it.

Quantities become pixels here and nowhere become amounts. The figures stand in a table beside each plot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

WIDTH, HEIGHT = 760, 220
_LEFT, _TOP, _BOTTOM = 52, 12, 28


@dataclass(frozen=True)
class DayMark:
    """One day of a plot. brought: what there is. low, expected, high: what is forecast for it in all; None: past."""

    day: date
    brought: Fraction
    low: Fraction | None = None
    expected: Fraction | None = None
    high: Fraction | None = None


@dataclass(frozen=True)
class Bar:
    """kind: `brought` is filled, `expected` a dashed outline. Pixels from the top left corner."""

    kind: str
    x: str
    y: str
    width: str
    height: str


@dataclass(frozen=True)
class Line:
    """kind: `grid`, or the `range` from the least to the most."""

    kind: str
    x1: str
    y1: str
    x2: str
    y2: str


@dataclass(frozen=True)
class Label:
    """anchor: `middle` or `end`, as SVG has it."""

    x: str
    y: str
    words: str
    anchor: str


@dataclass(frozen=True)
class Plot:
    bars: tuple[Bar, ...]
    lines: tuple[Line, ...]
    labels: tuple[Label, ...]
    width: int = WIDTH
    height: int = HEIGHT


def day_plot(marks: Sequence[DayMark]) -> Plot:
    """A bar for each day; a dashed outline and a line for what is expected of those that are left."""
    highest = _nice(max((max(mark.brought, mark.high or Fraction(0)) for mark in marks), default=Fraction(0)))
    step = Fraction(WIDTH - _LEFT - 8, max(len(marks), 1))
    scale = Fraction(HEIGHT - _TOP - _BOTTOM) / highest
    base = HEIGHT - _BOTTOM
    bars: list[Bar] = []
    lines, labels = _grid(highest, scale, base)
    for number, mark in enumerate(marks):
        left = _LEFT + number * step
        if mark.expected is not None and mark.expected > mark.brought:
            bars.append(_bar("expected", left, step, mark.expected * scale, base))
        if mark.brought > 0:
            bars.append(_bar("brought", left, step, mark.brought * scale, base))
        middle = left + step / 2
        if mark.low is not None and mark.high is not None and mark.high > mark.low:
            lines.append(_line("range", middle, base - mark.low * scale, middle, base - mark.high * scale))
        if mark.day.day == 1 or mark.day.day % 5 == 0:
            labels.append(_label(middle, Fraction(HEIGHT - 8), f"{mark.day.month}-{mark.day.day}", "middle"))
    return Plot(tuple(bars), tuple(lines), tuple(labels))


def percent_of(part: Fraction, whole: Fraction) -> str:
    """How long a bar is, from 0.0 to 100.0."""
    share = min(max(part / whole, Fraction(0)), Fraction(1)) if whole > 0 else Fraction(0)
    return _px(share * 100)


def _nice(value: Fraction) -> Fraction:
    """The least of 4, 8, 20, 40, 80, 200, … that is not below the value: quarters of it are whole numbers."""
    top, factors = Fraction(4), (Fraction(2), Fraction(5, 2), Fraction(2))
    number = 0
    while top < value:
        top *= factors[number % 3]
        number += 1
    return top


def _grid(highest: Fraction, scale: Fraction, base: int) -> tuple[list[Line], list[Label]]:
    levels = [(highest * quarter / 4, base - highest * quarter / 4 * scale) for quarter in range(5)]
    lines = [_line("grid", Fraction(_LEFT), y, Fraction(WIDTH - 4), y) for _, y in levels]
    labels = [_label(Fraction(_LEFT - 6), y + 4, f"{int(value):,}", "end") for value, y in levels]
    return lines, labels


def _bar(kind: str, left: Fraction, step: Fraction, height: Fraction, base: int) -> Bar:
    gap = step / 8
    return Bar(kind, _px(left + gap), _px(base - height), _px(step - 2 * gap), _px(height))


def _line(kind: str, x1: Fraction, y1: Fraction, x2: Fraction, y2: Fraction) -> Line:
    return Line(kind, _px(x1), _px(y1), _px(x2), _px(y2))


def _label(x: Fraction, y: Fraction, words: str, anchor: str) -> Label:
    return Label(_px(x), _px(y), words, anchor)


def _px(value: Fraction) -> str:
    tenths = round(value * 10)
    return f"{tenths // 10}.{tenths % 10}"
