"""The plots of the model cards: drawn off-screen, small PNG files in one plain style.

Text on a plot is English, as the cards are; a plot says of what it was made.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from models.evaluation.bootstrap import Estimate
from models.evaluation.calibration import Bin
from models.evaluation.froc import RATES, FrocInterval
from models.evaluation.subgroups import Group

BYTES_MAX = 60_000
_DPI = 110
# Told apart by people who do not see red and green, and when printed in grey (Okabe and Ito 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_GREY = "#666666"


def canvas(title: str, width: float = 5.6, height: float = 3.8) -> tuple[Figure, Axes]:
    """An empty figure in inches with one pair of axes."""
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def png(figure: Figure) -> bytes:
    """The figure as PNG of at most `BYTES_MAX` bytes: 64 colours are enough for lines and letters."""
    raw = io.BytesIO()
    figure.savefig(raw, format="png")
    raw.seek(0)
    small = io.BytesIO()
    with Image.open(raw) as image:
        image.convert("RGB").quantize(64).save(small, format="PNG", optimize=True)
    data = small.getvalue()
    assert len(data) <= BYTES_MAX, f"a plot of {len(data)} bytes"
    return data


def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG; the file appears whole or not at all."""
    temporary = path.with_suffix(".part")
    temporary.write_bytes(png(figure))
    temporary.replace(path)


def froc(curves: Mapping[str, FrocInterval], title: str) -> Figure:
    """Sensitivity against false positives per scan with 95 % bands, one curve for each name."""
    figure, axes = canvas(title)
    for colour, (name, found) in zip(COLOURS, curves.items(), strict=False):
        values = [found.sensitivity[rate] for rate in RATES]
        label = f"{name}: CPM {_shown(found.cpm)}"
        axes.plot(RATES, [v.value for v in values], "o-", color=colour, markersize=4, label=label)
        axes.fill_between(
            RATES, [v.low for v in values], [v.high for v in values], color=colour, alpha=0.15, linewidth=0
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
    axes.set_ylim(0, 1.02)
    _label(axes, "false positives per scan", "sensitivity")
    axes.legend(fontsize=8, loc="lower right", frameon=False)
    return figure


def roc(
    curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64], Estimate]], title: str
) -> Figure:
    """ROC curves: for each name the false and true positive rates and the area."""
    figure, axes = canvas(title, 4.8, 4.6)
    axes.plot([0, 1], [0, 1], ":", color=_GREY, linewidth=1)
    for colour, (name, (false, true, area)) in zip(COLOURS, curves.items(), strict=False):
        axes.step(false, true, where="post", color=colour, linewidth=1.4, label=f"{name}: {_shown(area)}")
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    _label(axes, "1 − specificity", "sensitivity")
    axes.legend(fontsize=7.5, loc="lower right", frameon=False, title="area (95 %)", title_fontsize=7.5)
    return figure


def reliability(curves: Mapping[str, Sequence[Bin]], title: str) -> Figure:
    """What was so against what was said, with Wilson intervals; on the dotted line both are equal."""
    figure, axes = canvas(title, 4.8, 4.6)
    axes.plot([0, 1], [0, 1], ":", color=_GREY, linewidth=1)
    for colour, (name, bins) in zip(COLOURS, curves.items(), strict=False):
        said, was = [one.said for one in bins], [one.was for one in bins]
        gaps = [[w.value - w.low for w in was], [w.high - w.value for w in was]]
        axes.errorbar(
            said, [w.value for w in was], gaps, fmt="o-", color=colour, markersize=4, linewidth=1,
            capsize=2, label=name,
        )  # fmt: skip
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    _label(axes, "probability that the model said", "share that was so")
    axes.legend(fontsize=7.5, loc="upper left", frameon=False)
    return figure


def scores(by_name: Mapping[str, NDArray[np.float64]], threshold: float, title: str) -> Figure:
    """Histograms of scores in [0, 1], one outline for each name, and the threshold."""
    figure, axes = canvas(title)
    edges = np.linspace(0, 1, 26).tolist()
    for colour, (name, values) in zip(COLOURS, by_name.items(), strict=False):
        axes.hist(
            values, edges, histtype="step", color=colour, linewidth=1.4, label=f"{name} ({len(values)})"
        )
    axes.axvline(threshold, color=_GREY, linestyle="--", linewidth=1, label=f"threshold {threshold:.3g}")
    _label(axes, "score", "number")
    axes.legend(fontsize=8, frameon=False)
    return figure


def groups(table: Sequence[Group], title: str, axis: str) -> Figure:
    """One line for each part of the data with its figure and interval; small parts say that they are too small."""
    height = max(2.0, 0.7 + 0.22 * len(table))
    figure, axes = canvas(title, 6.2, height)
    for row, group in enumerate(table):
        found = group.estimate
        if found is None:
            axes.text(0.5, row, "too few to say", fontsize=7, color=_GREY, va="center", ha="center",
                      transform=axes.get_yaxis_transform())  # fmt: skip
            continue
        axes.plot([found.low, found.high], [row, row], color=COLOURS[0], linewidth=1.6)
        axes.plot([found.value], [row], "o", color=COLOURS[0], markersize=4)
    names = [
        f"{group.fact.rpartition('_')[0] or group.fact}: {group.value} ({group.count})" for group in table
    ]
    axes.set_yticks(range(len(table)), [name.replace("_", " ") for name in names], fontsize=7.5)
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.set_xlabel(axis, fontsize=8.5)
    return figure


def boxes(by_name: Mapping[str, NDArray[np.float64]], title: str, axis: str) -> Figure:
    """Box plots lying on their side: median, quartiles, 5th and 95th percentile, single points beyond."""
    figure, axes = canvas(title, 6.2, max(2.0, 0.9 + 0.3 * len(by_name)))
    axes.boxplot(
        list(by_name.values()), orientation="horizontal", whis=(5, 95), widths=0.6,
        medianprops={"color": COLOURS[1]}, flierprops={"marker": ".", "markersize": 3},
        tick_labels=[f"{name} ({len(values)})" for name, values in by_name.items()],
    )  # fmt: skip
    axes.invert_yaxis()
    axes.set_xlabel(axis, fontsize=8.5)
    return figure


def _label(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=8.5)
    axes.set_ylabel(y, fontsize=8.5)


def _shown(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
