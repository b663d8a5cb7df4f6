"""The plots of docs/capacity.md as SVG: the same figures give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.capacity.arrivals import Region, hourly_weights
from benchmarks.capacity.site import Result

_BLUE, _RED, _GREY = "#1f5fa8", "#b3261e", "#6b7280"


def week(region: Region, path: Path) -> None:
    """Studies an hour over the week."""
    axes = _axes("Studies an hour, expected")
    hours = np.arange(168)
    axes.fill_between(
        hours, hourly_weights() * region.studies_per_year / (365.25 / 7), step="post", color=_BLUE, alpha=0.85
    )
    axes.set_xticks(range(0, 169, 24), ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun", ""], ha="left")
    axes.set_xlim(0, 168)
    axes.set_ylim(0)
    _save(axes, path)


def waiting(days: Mapping[str, Result], path: Path) -> None:
    """Studies that are complete and not delivered, minute by minute of a Monday, for sites of several sizes."""
    axes = _axes("Complete studies on their way, Monday")
    minutes = np.arange(0, 24 * 60)
    for (name, day), colour in zip(days.items(), (_RED, _BLUE, _GREY), strict=False):
        axes.plot(minutes / 60, under_way(day, minutes * 60.0), label=name, color=colour, linewidth=1.2)
    axes.axvline(12, color=_GREY, linewidth=0.8, linestyle=":")
    axes.set_xticks(range(0, 25, 3), [f"{hour}:00" for hour in range(0, 25, 3)])
    axes.set_xlim(0, 24)
    axes.set_yscale("symlog", linthresh=10)
    axes.set_ylim(0)
    axes.legend(frameon=False, loc="upper right")
    _save(axes, path)


def turnaround(samples: Mapping[str, NDArray[np.float64]], path: Path, *, limit_s: float) -> None:
    """Share of studies that took longer than so many seconds: one line for each kind."""
    axes = _axes("Share of studies that took longer")
    for (name, seconds), colour in zip(samples.items(), (_RED, _BLUE, _GREY, "#0f766e"), strict=False):
        ordered = np.sort(seconds)
        axes.step(
            ordered,
            1 - np.arange(1, len(ordered) + 1) / (len(ordered) + 1),
            where="post",
            label=name,
            color=colour,
        )
    axes.axvline(limit_s, color=_GREY, linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("seconds from the last instance to the answer of the archive")
    axes.legend(frameon=False, loc="lower left")
    _save(axes, path)


def under_way(day: Result, moments_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Studies that are complete and not delivered at each moment."""
    begun = np.sort([one.assembled_s for one in day.studies])
    ended = np.sort([one.delivered_s for one in day.studies])
    return np.searchsorted(begun, moments_s, "right") - np.searchsorted(ended, moments_s, "right")


def measured_and_simulated(pairs: Sequence[tuple[str, Sequence[float], Sequence[float]]], path: Path) -> None:
    """For each kind the measured seconds, sorted, beside the simulated ones."""
    axes = _axes("Seconds from complete to delivered")
    for (name, measured, simulated), colour in zip(pairs, (_RED, _BLUE), strict=False):
        for values, style, what in ((measured, "-", "measured"), (simulated, "--", "simulated")):
            shares = np.linspace(0, 100, len(values))
            axes.plot(shares, np.sort(values), style, color=colour, label=f"{name}, {what}", linewidth=1.4)
    axes.set_xlabel("percent of the studies")
    axes.set_ylim(0, 1.45 * axes.get_ylim()[1])
    axes.legend(frameon=False, loc="upper left", ncols=2)
    _save(axes, path)


def _axes(title: str) -> Axes:
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", linewidth=0.4, color="#d1d5db")
    return axes


def _save(axes: Axes, path: Path) -> None:
    with mpl.rc_context({"svg.hashsalt": "radmeter", "svg.fonttype": "none", "font.family": "sans-serif"}):
        FigureCanvasSVG(axes.figure).print_svg(path, metadata={"Date": None, "Creator": None})
    # matplotlib ends lines with blanks, which editors of text would take away again.
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")
