"""The plots of a model's health: PNG drawn on the server, on the page's own ground in light and in dark.

Shapes tell what colours tell; the figures stand in tables beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from models.evaluation.bootstrap import wilson
from models.evaluation.plots import canvas, png
from pipeline.health_figures import NO_FINDING, Said, Window
from portal.text import Translate

Days = Sequence[tuple[date, Mapping[str, int]]]

# Latin letters, then Chinese ones; once, for figures of several threads share the setting.
_WANTED = ("DejaVu Sans", "WenQuanYi Micro Hei", "Noto Sans CJK SC", "Noto Sans CJK JP")
mpl.rcParams["font.family"] = [name for name in _WANTED if name in set(font_manager.get_font_names())]

_TENTHS = (NO_FINDING, *(f"{tenth / 10:.1f}" for tenth in range(10)))


@dataclass(frozen=True)
class Theme:
    """Colours of the page's style in one of its two schemes."""

    ground: str
    ink: str
    soft: str
    line: str
    accent: str
    warning: str
    bad: str


LIGHT = Theme("#ffffff", "#17222c", "#51606d", "#d5dce2", "#1c5a7d", "#b07400", "#a11f2c")
DARK = Theme("#182027", "#e1e8ee", "#9fadb9", "#2c3842", "#84bfe0", "#ecc16c", "#f3a0a5")


def volume(days: Days, theme: Theme, _: Translate) -> bytes:
    """Bars of each day: results, upon them refusals, upon them failures."""
    figure, axes = _canvas(theme)
    left = [day.toordinal() for day, _counts in days]
    below = [0] * len(days)
    for value, word, colour, hatch in (
        ("completed", "Results", theme.accent, ""),
        ("refused", "Refused", theme.warning, "///"),
        ("failed", "Failed", theme.bad, "xxx"),
    ):
        heights = [counts.get(value, 0) for _day, counts in days]
        axes.bar(left, heights, 0.8, below, color=colour, hatch=hatch, edgecolor=theme.ground, label=_(word))
        below = [a + b for a, b in zip(below, heights, strict=True)]
    return _finish(figure, axes, theme, _("studies a day"), of_days=True)


def positives(days: Days, theme: Theme, _: Translate) -> bytes:
    """The share of results with a finding, week by week, with 95 % intervals."""
    figure, axes = _canvas(theme)
    weeks: dict[date, list[int]] = {}
    for day, counts in days:
        week = weeks.setdefault(day - timedelta(days=day.weekday()), [0, 0])
        week[0] += counts.get("yes", 0)
        week[1] += sum(counts.values())
    shares = {week: wilson(so, count) for week, (so, count) in weeks.items() if count}
    gaps = [[s.value - s.low for s in shares.values()], [s.high - s.value for s in shares.values()]]
    axes.errorbar(
        [week.toordinal() for week in shares], [s.value for s in shares.values()], gaps, fmt="o-", color=theme.accent,
        capsize=3, markersize=4, label=_("With a finding"),
    )  # fmt: skip
    axes.set_ylim(-0.03, 1.03)
    return _finish(figure, axes, theme, _("share, by week"), of_days=True)


def scores(now: Window, before: Window | None, dimension: str, theme: Theme, _: Translate) -> bytes:
    """Shares of the tenths of the score: bars of now, the reference as a line of points."""
    figure, axes = _canvas(theme)
    axes.bar(range(11), _shares(now, dimension), 0.8, color=theme.accent, label=_("now"))
    if before is not None and before.of(dimension):
        axes.plot(
            range(11), _shares(before, dimension), "D--", color=theme.ink, markersize=4, label=_("reference")
        )
    axes.set_xticks(range(11), [_("none"), *_TENTHS[1:]])
    axes.set_xlabel(_("score, from"))
    return _finish(figure, axes, theme, _("share of results"))


def calibration(tenths: Sequence[Said], theme: Theme, _: Translate) -> bytes:
    """What verdicts accepted against what was said, with 95 % intervals; on the dotted line both are equal."""
    figure, axes = _canvas(theme)
    axes.plot([0, 1], [0, 1], ":", color=theme.soft)
    was = [one.accepted for one in tenths]
    gaps = [[w.value - w.low for w in was], [w.high - w.value for w in was]]
    axes.errorbar(
        [one.said for one in tenths], [w.value for w in was], gaps, fmt="o", color=theme.accent, capsize=3,
        markersize=4, label=_("Accepted by verdicts"),
    )  # fmt: skip
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.05, 1.05)
    axes.set_xlabel(_("score"))
    return _finish(figure, axes, theme, _("share accepted"))


def _shares(window: Window, dimension: str) -> list[float]:
    counts = window.of(dimension)
    total = max(1, sum(counts.values()))
    return [counts.get(tenth, 0) / total for tenth in _TENTHS]


def _canvas(theme: Theme) -> tuple[Figure, Axes]:
    figure, axes = canvas("", 5.6, 2.7)
    figure.set_dpi(160)
    figure.set_facecolor(theme.ground)
    axes.set_facecolor(theme.ground)
    return figure, axes


def _finish(figure: Figure, axes: Axes, theme: Theme, y: str, *, of_days: bool = False) -> bytes:
    axes.set_ylabel(y)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=theme.soft, fontsize=8.5)
    axes.tick_params(colors=theme.soft, labelcolor=theme.soft)
    for spine in axes.spines.values():
        spine.set_color(theme.line)
    axes.grid(visible=True, color=theme.line, linewidth=0.6)
    if of_days:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda number, _place: f"{date.fromordinal(int(number)):%m-%d}")
        )
    # Above the axes: bars and points fill what is below.
    axes.legend(
        fontsize=8,
        frameon=False,
        labelcolor=theme.ink,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=3,
        borderpad=0,
    )
    return png(figure)
