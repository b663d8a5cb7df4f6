"""How far a score can be believed, worst first, gaps and noise: what a report says beside the measurements."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import jinja2
import numpy as np
import pytest

from models.registry import list_models
from pipeline.guidelines.of_findings import chosen_guideline
from pipeline.operating_point import OperatingPoint, ScoreBand, operating_point
from pipeline.report import TEMPLATES, _environment
from pipeline.report_rows import noise_hu
from pipeline.report_text import ZH
from study.nodule import NoduleFeatures, NoduleKind
from tests.pipeline.test_report import text_of
from tests.report_builders import lung_volume, manifest, report, two_findings

FROC = {
    "what": "made for this test",
    "test": {
        "images": 10,
        "detection": {
            "lesions": 100,
            "at_operating_point": {
                "threshold": 0.5,
                "sensitivity": {"value": 0.8},
                "false_positives_per_scan": {"value": 1.0},
            },
            "sensitivity_at_false_positives_per_scan": {
                "0.5": {"value": 0.7}, "1": {"value": 0.8}, "2": {"value": 0.82},
            },
            "threshold_at_false_positives_per_scan": {"0.5": 0.9, "1": 0.5, "2": 0.3},
        },
    },
}  # fmt: skip


def measured(folder: Path, record: object, threshold: float = 0.5) -> object:
    (folder / "evaluation.json").write_text(json.dumps(record))
    made = replace(
        manifest(), folder=folder, evaluation_file="evaluation.json", operating_threshold=threshold
    )
    return operating_point(made)


def test_a_score_is_right_as_often_as_the_curve_of_the_tests_says(tmp_path: Path) -> None:
    point = measured(tmp_path, FROC)
    # 70 of 75 marks from 0.9 up were lesions; below, down to 0.5, 10 of 15; further down 2 of 12.
    assert point.bands == (
        ScoreBand(0.9, pytest.approx(70 / 75), 75),
        ScoreBand(0.5, pytest.approx(10 / 15), 15),
        ScoreBand(0.3, pytest.approx(2 / 12), 12),
    )  # fmt: skip
    assert point.band_of(0.95).count == 75
    assert point.band_of(0.5).count == 15
    assert point.band_of(0.1) is None
    assert (point.sensitivity, point.false_per_image) == (0.8, 1.0)


def test_nothing_is_claimed_at_a_threshold_that_was_not_measured(tmp_path: Path) -> None:
    point = measured(tmp_path, FROC, threshold=0.62)
    assert (point.sensitivity, point.false_per_image) == (None, None)
    assert point.bands


@pytest.mark.parametrize(
    "record", [{}, [], {"what": "x"}, {"what": "x", "test": {"images": 1}}, "x", {"what": 1, "test": {"images": "a"}},
               json.loads(json.dumps(FROC).replace("0.7", "7")), json.loads(json.dumps(FROC).replace("0.7", "NaN"))],
)  # fmt: skip
def test_an_evaluation_of_another_layout_claims_nothing(tmp_path: Path, record: object) -> None:
    assert measured(tmp_path, record) is None


def test_the_models_that_come_with_the_product_have_their_figures() -> None:
    points = {one.name: operating_point(one) for one in list_models()}
    nodules, films = points["lung_nodule_ct"], points["chest_radiograph"]
    assert nodules is not None
    assert films is not None
    assert nodules.sensitivity is not None
    assert nodules.bands[0].right_share > nodules.bands[-1].right_share
    assert {label for label, *_ in films.labels} >= {"pneumothorax", "nodule_or_mass"}


def test_the_explanation_says_what_was_measured_why_it_was_marked_and_how_often_such_marks_are_right() -> (
    None
):
    volume = lung_volume()
    found = replace(
        two_findings(volume)[1],
        nodule=NoduleFeatures(NoduleKind.SOLID, lobe="right lower lobe", pleura_distance_mm=12.3),
    )
    text = text_of(report(volume=volume, findings=(found,)))
    assert "Measured mean 7.2 mm, 8.0 mm from foot to head" in text
    assert "density 40 HU (solid)" in text
    assert "Location right lower lobe, 12 mm from the pleura, image 95" in text
    assert "Marked because its score 0.61 is not below the threshold 0.499." in text
    assert (
        "Not known for patients. On made-up images 78 of 100 marks with such a score were nodules (of 27)."
        in text
    )
    assert "78 %" not in text
    assert "92 of 100 nodules, with 0.5 false marks a scan, in tests on 48 made-up scans" in text


def test_a_share_is_told_as_one_of_patients_only_where_patients_were_tested_on(tmp_path: Path) -> None:
    assert not measured(tmp_path, FROC).on_patients
    assert not measured(tmp_path, FROC | {"on_patients": "yes"}).on_patients
    tested = measured(tmp_path, FROC | {"on_patients": True}, threshold=0.499)
    assert tested.on_patients
    view = report(volume=lung_volume(), findings=two_findings(lung_volume()))
    assert view.model is not None
    text = text_of(replace(view, model=replace(view.model, operating_point=tested)))
    assert (
        "Of 100 marks with such a score 78 were nodules (of 27 marks in tests); the others were not." in text
    )
    assert "78 %" in text
    assert OperatingPoint.from_json(json.loads(json.dumps(asdict(tested)))) == tested


def test_the_worst_category_comes_first_and_what_has_none_is_not_taken_for_mild() -> None:
    volume = lung_volume()
    small, large = two_findings(volume)
    solid = NoduleFeatures(NoduleKind.SOLID, pleura_distance_mm=9.0)
    given = [
        replace(large, id=1, nodule=NoduleFeatures(NoduleKind.GROUND_GLASS, pleura_distance_mm=9.0)),
        replace(small, id=2, nodule=solid),
        replace(large, id=3, mean_diameter_mm=7.0, nodule=solid),
        replace(large, id=4, mean_diameter_mm=6.8),  # of unknown type
    ]
    view = report(volume=volume, findings=given, guideline=chosen_guideline("lung_rads_2022", "screening"))
    assert [(row.id, row.category) for row in view.findings] == [(3, "3"), (4, None), (1, "2"), (2, "2")]
    assert "1 of 4 findings have no category, so a worse one is possible" in text_of(view)


def test_gaps_between_slices_are_told() -> None:
    volume = replace(lung_volume(), slice_thickness_mm=1.25)  # spacing 2 mm
    assert "Gaps of 0.8 mm between slices: small findings can lie in them." in text_of(report(volume=volume))
    assert "no remarks" in text_of(report())


def test_noise_is_the_scatter_of_even_soft_tissue() -> None:
    volume = lung_volume()
    shape = (5, 64, 64)
    even = np.random.default_rng(1).normal(40, 18, shape).astype(np.int16)
    assert noise_hu(replace(volume, voxels=_stack(volume.voxels, even))) == pytest.approx(18, rel=0.15)
    assert noise_hu(replace(volume, voxels=np.full_like(volume.voxels, -850))) is None


def _stack(voxels: np.ndarray, middle: np.ndarray) -> np.ndarray:
    made = voxels.copy()
    rows, columns = (min(a, b) for a, b in zip(made.shape[1:], middle.shape[1:], strict=True))
    first = len(made) // 2 - 2
    made[first : first + 5, :rows, :columns] = middle[:, :rows, :columns]
    return made


def test_every_word_of_a_report_has_its_chinese() -> None:
    said = set()
    for path in TEMPLATES.glob("*.html"):
        tree = _environment().parse(path.read_text("utf-8"))
        for call in tree.find_all(jinja2.nodes.Call):
            if getattr(call.node, "name", "") == "w":
                said |= {one.value for one in call.find_all(jinja2.nodes.Const) if isinstance(one.value, str)}
    words = {one for one in said if any(letter.isalpha() for letter in one) and one not in _NO_WORDS}
    assert len(words) > 80
    assert sorted(words - ZH.keys()) == []
    for model in list_models():
        assert {model.title, model.intended_use, model.clearance_status} <= ZH.keys()


_NO_WORDS = {
    "_",
    "overview",
    "plain",
    "overlay",
    "prior",
    "axial",
    "coronal",
    "sagittal-right",
    "sagittal-left",
    "%g",
}
