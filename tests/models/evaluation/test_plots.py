"""Plots: small PNG files that show what they were given."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from models.evaluation import plots
from models.evaluation.auc import auc, roc
from models.evaluation.bootstrap import wilson
from models.evaluation.calibration import reliability
from models.evaluation.froc import Marked, Real, froc_interval, match
from models.evaluation.subgroups import Group


def all_plots() -> dict[str, Figure]:
    rng = np.random.default_rng(0)
    truths = rng.random(300) < 0.4
    probabilities = np.clip(rng.beta(2, 5, 300) + 0.4 * truths, 0, 1)
    scans = [
        (
            [Marked((0, 0, 0), 8, rng.random()), Marked((99, 0, 0), 8, rng.random() / 2)],
            [Real((0, 0, 0), 10, "solid")],
        )
        for _ in range(30)
    ]
    table = [Group("slice_thickness_mm", f"band {i}", 20, wilson(15 + i % 5, 20)) for i in range(20)]
    table.append(Group("sex", "F", 4, None))
    return {
        "froc": plots.froc({"test": froc_interval(match(scans))}, "30 made scans"),
        "roc": plots.roc({"effusion": (*roc(probabilities, truths), auc(probabilities, truths))}, "ROC"),
        "reliability": plots.reliability({"effusion": reliability(probabilities, truths)}, "Reliability"),
        "scores": plots.scores({"with": probabilities[truths], "without": probabilities[~truths]}, 0.5, "Scores"),
        "groups": plots.groups(table, "By group", "sensitivity"),
        "boxes": plots.boxes({"left lung": rng.beta(30, 1, 40), "right lung": rng.beta(20, 1, 40)}, "Dice", "Dice"),
    }  # fmt: skip


def test_every_plot_is_a_small_png_with_something_on_it(tmp_path: Path) -> None:
    for name, figure in all_plots().items():
        path = tmp_path / f"{name}.png"
        plots.save(figure, path)
        assert path.stat().st_size <= plots.BYTES_MAX
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert min(image.size) > 200
            assert len(image.convert("RGB").getcolors(100_000) or []) > 3
    assert not list(tmp_path.glob("*.part"))


def test_no_plot_opens_a_window_or_stays_in_memory() -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    all_plots()
    assert pyplot.get_fignums() == []


def test_a_small_group_is_named_and_not_drawn() -> None:
    figure = plots.groups([Group("sex", "F", 4, None)], "By sex", "sensitivity")
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["too few to say"]
    assert axes.get_yticklabels()[0].get_text() == "sex: F (4)"
