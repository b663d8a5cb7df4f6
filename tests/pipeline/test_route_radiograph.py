"""Which radiograph a model reads: laterals and unprocessed images give way, and the refusal says why."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from models.manifest import InputRequirements
from pipeline.route import Route, check_series, choose
from pipeline.route_study import input_digest
from pipeline.unfit import Unfit
from study.study import Instance, Series, Study
from tests.report_builders import manifest

NEEDS = InputRequirements(
    modalities=("DX", "CR"), body_parts=("CHEST", "THORAX"), orientation="", slice_thickness_mm_max=float("inf"),
    slice_spacing_mm_min=0, slice_spacing_mm_max=float("inf"), slice_count_min=1, slice_count_max=1,
    excluded_image_types=("SECONDARY",), kind="radiograph", view_positions=("PA", "AP"),
)  # fmt: skip
MANIFEST = dataclasses.replace(manifest(), input=NEEDS)


def image(number: int, view: str = "PA", **changes: Any) -> Instance:
    values: dict[str, Any] = {
        "sop_instance_uid": f"1.2.{number}", "sop_class_uid": "1.2.840.10008.5.1.4.1.1.1.1",
        "transfer_syntax_uid": "1.2.840.10008.1.2.1", "location": str(number), "image_type": ("ORIGINAL", "PRIMARY"),
        "instance_number": number, "number_of_frames": 1, "view_position": view,
    }  # fmt: skip
    return Instance(**(values | changes))


def study(*images: Instance, **series: Any) -> Study:
    values: dict[str, Any] = {"modality": "DX", "body_part_examined": "CHEST"} | series
    return Study("1.2.3", (Series(series_instance_uid="1.2.9", instances=images, **values),))


def chosen(*images: Instance) -> str:
    route = choose(study(*images), MANIFEST)
    assert isinstance(route, Route)
    return route.sop_instance_uid


class TestPick:
    def test_the_frontal_image_is_read_and_the_lateral_beside_it_is_not(self) -> None:
        route = choose(study(image(1, "LL"), image(2, "PA")), MANIFEST)
        assert isinstance(route, Route)
        assert route.sop_instance_uid == "1.2.2"
        assert route.explanation.startswith("1 DX image (PA, image 2), the best of 1 that fit among 2")

    def test_pa_goes_before_ap_and_a_stated_view_before_none(self) -> None:
        assert chosen(image(1, "AP"), image(2, "PA"), image(3, "")) == "1.2.2"
        assert chosen(image(1, ""), image(2, "AP")) == "1.2.2"

    def test_of_repeated_exposures_the_last_is_read(self) -> None:
        assert chosen(image(1), image(3), image(2)) == "1.2.3"

    def test_an_image_made_to_be_shown_goes_before_an_unprocessed_one(self) -> None:
        raw = image(2, presentation_intent="FOR PROCESSING")
        assert chosen(image(1, "AP"), raw) == "1.2.1"

    def test_a_view_that_the_header_does_not_tell_is_left_to_the_model(self) -> None:
        assert chosen(image(1, "")) == "1.2.1"

    def test_a_volume_is_read_whole(self) -> None:
        assert Route("p", "m", "1", "1.2", "e", "x", "CT").sop_instance_uid == ""


class TestRefusals:
    @pytest.mark.parametrize("view", ["LL", "RL", "LATERAL", "LLO"])
    def test_other_views_are_refused_by_their_name(self, view: str) -> None:
        unfit = choose(study(image(1, view)), MANIFEST)
        assert isinstance(unfit, Unfit)
        assert unfit.code == "WRONG_VIEW"
        assert view in unfit.text
        assert "not PA or AP" in unfit.text

    def test_another_body_part_is_refused(self) -> None:
        unfit = choose(study(image(1), body_part_examined="HAND"), MANIFEST)
        assert isinstance(unfit, Unfit)
        assert unfit.code == "WRONG_BODY_PART"

    def test_a_ct_and_a_film_of_several_frames_are_refused(self) -> None:
        ct = check_series(study(image(1), modality="CT").series[0], NEEDS)
        cine = check_series(study(image(1, number_of_frames=3)).series[0], NEEDS)
        assert ct is not None
        assert cine is not None
        assert (ct.code, cine.code) == ("WRONG_MODALITY", "SEVERAL_FRAMES")


def test_the_digest_of_one_image_does_not_change_when_another_arrives() -> None:
    digests = {"1": "aa", "2": "bb"}
    one, both = study(image(1)).series[0], study(image(1), image(2, "LL")).series[0]
    assert input_digest(one, digests, "1.2.1") == input_digest(both, digests, "1.2.1")
    assert input_digest(one, digests) != input_digest(both, digests)
