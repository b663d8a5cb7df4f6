"""An evaluation as a whole, on answers made by hand: what is counted, what is refused, what is drawn."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from models.evaluation.evaluate import collect, figures_of, lowered, record_of
from models.evaluation.froc import Real
from models.evaluation.sample import LabelMap, Labels, Nodules, Refusal, Said, Sample, Truth
from models.registry import get_model
from study.answer import Answer, Classification, Image, Structure
from study.codes import LUNG_NODULE
from study.findings import Finding, Segment
from study.volume import Volume

MANIFEST = get_model("lung_nodule_ct").manifest
MakeVolume = Callable[..., Volume]


def finding(center: tuple[float, float, float], score: float, diameter: float = 8.0) -> Finding:
    return Finding(
        1, "nodule", score, center, (0, 0, 0, 1, 1, 1), diameter, diameter, diameter, ((0, 0, 0), (1, 0, 0)),
        ((0, 0, 0), (0, 1, 0)), 200.0, 30.0, 0, "1.2.3", 1, "2.25.1",
    )  # fmt: skip


@pytest.fixture
def image(make_volume: MakeVolume) -> Volume:
    return make_volume(np.zeros((6, 8, 10), np.int16))


def evaluated(image: Image, truths: list[Truth], answers: list[Said]) -> dict[str, object]:
    said = iter(answers)
    facts: dict[str, str | float] = {"sex": "F", "slice_spacing_mm": 1.0}
    splits = collect([Sample(image, truth, "test", facts) for truth in truths], lambda _: next(said))
    record = record_of(splits, MANIFEST, what="made", on_patients=False)
    json.dumps(record, allow_nan=False)
    figures_of(splits, MANIFEST)
    test = record["test"]
    assert isinstance(test, dict)
    return test


def test_marks_are_matched_in_patient_space_and_refusals_are_named(image: Volume) -> None:
    lesion = Real((10.0, 20.0, 30.0), 10.0, "solid")
    answer = Answer(findings=(finding((11.0, 20.0, 33.0), 0.9), finding((80.0, 0.0, 0.0), 0.6)))
    truths: list[Truth] = [Nodules((lesion,)), Nodules(()), Nodules((lesion,))]
    test = evaluated(image, truths, [answer, Answer(), Refusal("LUNGS_NOT_FOUND")])
    assert test["images"] == 3
    assert test["refused"] == {"LUNGS_NOT_FOUND": 1}
    found = test["detection"]
    assert isinstance(found, dict)
    point = found["at_operating_point"]
    assert (found["scans"], found["lesions"]) == (2, 1)
    assert point["sensitivity"]["value"] == 1.0
    assert point["false_positives_per_scan"]["value"] == 0.5
    assert found["center_error_mm"]["value"] == pytest.approx(np.sqrt(10), abs=1e-3)
    assert found["diameter_error_mm"]["value"] == 2.0
    assert {group["group"] for group in found["by_group_at_operating_point"]} >= {"10 to 30 mm", "solid", "F"}
    assert all(group["too_few"] for group in found["by_group_at_operating_point"])


def test_a_mark_in_an_ignored_place_counts_as_nothing(image: Volume) -> None:
    ignored = Real((0.0, 0.0, 0.0), 6.0, "")
    truth = Nodules((Real((50.0, 0.0, 0.0), 6.0, ""),), (ignored,))
    test = evaluated(image, [truth], [Answer(findings=(finding((1.0, 0.0, 0.0), 0.9),))])
    found = test["detection"]
    assert isinstance(found, dict)
    assert found["at_operating_point"]["false_positives_per_scan"]["value"] == 0


def test_statements_are_judged_by_label(image: Volume) -> None:
    def said(probability: float) -> Answer:
        return Answer(classifications=(Classification("effusion", LUNG_NODULE, probability, 0.5, "2.25.1"),))

    truths: list[Truth] = [Labels({"effusion": i % 2 == 0, "unasked": True}) for i in range(40)]
    test = evaluated(image, truths, [said(0.8 if i % 2 == 0 else 0.3) for i in range(40)])
    found = test["classification"]
    assert isinstance(found, dict)
    assert list(found["labels"]) == ["effusion"]
    one = found["labels"]["effusion"]
    assert one["auc"]["value"] == one["sensitivity"]["value"] == one["specificity"]["value"] == 1
    assert one["expected_calibration_error"] == pytest.approx(0.25)
    assert one["auc_by_group"][0]["count"] == 40


def test_structures_are_put_back_into_the_image_and_a_missed_one_counts_as_zero(image: Volume) -> None:
    voxels: NDArray[np.uint8] = np.zeros((6, 8, 10), np.uint8)
    voxels[1:5, 2:6, 3:7], voxels[0] = 1, 2
    box = Segment(np.ones((4, 4, 2), np.bool_), (1, 2, 3))
    answer = Answer(structures=(Structure("lung", LUNG_NODULE, box, 1.0, -800.0, "2.25.1"),))
    test = evaluated(image, [LabelMap(voxels, {"lung": 1, "trachea": 2, "absent": 9})], [answer])
    found = test["segmentation"]
    assert isinstance(found, dict)
    assert found["structures"]["lung"]["dice"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert found["structures"]["trachea"]["missed"] == 1
    assert found["structures"]["trachea"]["surface_distance_mm"]["value"] is None
    assert "absent" not in found["structures"]


def test_the_model_is_asked_below_its_operating_point() -> None:
    assert lowered(MANIFEST).operating_threshold == 0.01 < MANIFEST.operating_threshold
