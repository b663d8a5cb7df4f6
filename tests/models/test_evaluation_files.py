"""What is shipped as an evaluation is of the weights and thresholds that are shipped, and a card's plots are there."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from models.evaluation.plots import BYTES_MAX
from models.lung_nodule_ct.evaluate import READ_TO_MM
from models.manifest import Manifest
from models.registry import list_models

EVALUATED = [manifest for manifest in list_models() if manifest.evaluation_file]
SHIPPED = pytest.mark.parametrize("manifest", EVALUATED, ids=[manifest.name for manifest in EVALUATED])


def evaluation(manifest: Manifest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((manifest.folder / manifest.evaluation_file).read_text("utf-8"))
    return found


@SHIPPED
def test_the_evaluation_is_of_these_weights(manifest: Manifest) -> None:
    assert evaluation(manifest)["model"]["weights_sha256"] == manifest.weights_sha256


@SHIPPED
def test_the_evaluation_is_at_the_thresholds_that_are_served(manifest: Manifest) -> None:
    splits = [
        split for split in evaluation(manifest).values() if isinstance(split, dict) and "images" in split
    ]
    for split in splits:
        if "detection" in split:
            assert split["detection"]["at_operating_point"]["threshold"] == manifest.operating_threshold
        for label, found in split.get("classification", {}).get("labels", {}).items():
            wanted = manifest.settings.get("thresholds", [manifest.operating_threshold])
            assert any(found["threshold"] == pytest.approx(one) for one in wanted), label


def test_the_detector_is_evaluated_apart_on_what_it_reads() -> None:
    detector = next(manifest for manifest in EVALUATED if manifest.name == "lung_nodule_ct")
    assert detector.input.slice_thickness_mm_max == READ_TO_MM
    thick = evaluation(detector)["heldout_thick"]["detection"]["by_group_at_operating_point"]
    assert {one["group"] for one in thick if one["fact"] == "series"} == {"read", "not read, over 5 mm"}


@SHIPPED
def test_the_plots_of_a_card_are_there_and_small(manifest: Manifest) -> None:
    card = (manifest.folder / manifest.card_file).read_text("utf-8")
    plots = [manifest.folder / name for name in re.findall(r"\]\(([\w.-]+\.png)\)", card)]
    assert [plot.name for plot in plots if not plot.is_file() or plot.stat().st_size > BYTES_MAX] == []
