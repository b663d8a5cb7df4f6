"""Logits become calibrated statements with places; other pictures become refusals with sentences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.chest_radiograph.postprocess import FINDINGS, KINDS, answer_of, check_kind
from models.errors import UnfitInput
from study.radiograph import Radiograph

IMAGE = Radiograph(np.zeros((560, 280), np.uint16), 12, None, "1.2.3.1", "1.2.3")
WHOLE = (0, 0, 560, 280)
SETTINGS: dict[str, Any] = {
    "slopes": [1.0, 2.0, 1.0, 1.0, 1.0, 1.0], "intercepts": [0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
    "thresholds": [0.5, 0.2, 0.5, 0.5, 0.5, 0.5],
}  # fmt: skip


def outputs(logits: list[float] | None = None) -> dict[str, Any]:
    saliency = np.full((1, 6, 28, 28), 0.01, np.float32)
    saliency[0, 0, 10:12, 20:24] = 0.9
    saliency[0, 0, 2, 2] = 0.8
    return {"logits": np.array([logits or [0.0] * 6], np.float32), "saliency": saliency}


def test_probabilities_are_calibrated_and_compared_with_their_own_threshold() -> None:
    answer = answer_of(outputs([2.0, -1.0, 0, 0, 0, 0]), IMAGE, WHOLE, SETTINGS, 0.5)
    first, second = answer.classifications[:2]
    assert [one.label for one in answer.classifications] == list(FINDINGS)
    assert first.probability == pytest.approx(1 / (1 + np.exp(-2)))
    assert second.probability == pytest.approx(1 / (1 + np.exp(1)))
    assert (second.threshold, second.is_positive) == (pytest.approx(0.2), True)


def test_the_operating_threshold_of_a_site_moves_every_threshold_and_0_5_moves_none() -> None:
    def thresholds(operating: float) -> list[float]:
        return [
            one.threshold for one in answer_of(outputs(), IMAGE, WHOLE, SETTINGS, operating).classifications
        ]

    assert thresholds(0.5) == pytest.approx(SETTINGS["thresholds"])
    assert all(np.less(thresholds(0.3), thresholds(0.5)))
    assert all(np.greater(thresholds(0.8), thresholds(0.5)))
    assert set(thresholds(0.0)) == {0.0}


def test_the_region_is_the_connected_place_around_the_greatest_value() -> None:
    one = answer_of(outputs(), IMAGE, WHOLE, SETTINGS, 0.5).classifications[0]
    assert one.region_px == (200.0, 200.0, 240.0, 240.0)


def test_a_map_of_a_trimmed_picture_lies_where_the_picture_lay() -> None:
    one = answer_of(outputs(), IMAGE, (280, 0, 560, 280), SETTINGS, 0.5).classifications[0]
    assert one.saliency is not None
    rows = one.saliency.shape[0]
    assert one.saliency[: rows // 2].max() == 0
    assert one.region_px is not None
    assert one.region_px[1] == pytest.approx(280 + 100, abs=6)
    assert one.region_px[3] == pytest.approx(280 + 120, abs=6)


def test_the_same_image_gives_the_same_tracking_uids_and_each_finding_its_own() -> None:
    first, second = (answer_of(outputs(), IMAGE, WHOLE, SETTINGS, 0.5).classifications for _ in range(2))
    assert [one.tracking_uid for one in first] == [one.tracking_uid for one in second]
    assert len({one.tracking_uid for one in first}) == len(FINDINGS)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("lateral", "LATERAL_RADIOGRAPH"), ("inverted", "INVERTED_RADIOGRAPH"), ("turned", "TURNED_RADIOGRAPH"),
        ("cropped", "CROPPED_RADIOGRAPH"), ("other", "NOT_A_CHEST_RADIOGRAPH"),
    ],
)  # fmt: skip
def test_each_other_kind_is_refused_by_its_name(kind: str, code: str) -> None:
    kinds = np.full(6, 0.02, np.float32)
    kinds[KINDS.index(kind)] = 0.9
    with pytest.raises(UnfitInput) as refused:
        check_kind(kinds, 0.5)
    assert refused.value.code == code
    check_kind(np.array([0.6, 0.4, 0, 0, 0, 0], np.float32), 0.5)
