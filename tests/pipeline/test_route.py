"""Which series a model reads, why, and the code of each refusal."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from models.manifest import InputRequirements
from pipeline.route import _NEARNESS, Route, check_series, choose
from pipeline.unfit import Unfit
from study.study import Instance, Series, Study
from tests.report_builders import manifest

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
CT = "1.2.840.10008.5.1.4.1.1.2"
NEEDS = InputRequirements(
    modalities=("CT",),
    body_parts=("CHEST", "THORAX"),
    orientation="axial",
    slice_thickness_mm_max=5.0,
    slice_spacing_mm_min=0.3,
    slice_spacing_mm_max=5.0,
    slice_count_min=25,
    slice_count_max=2000,
    excluded_image_types=("LOCALIZER", "SECONDARY", "DERIVED"),
)
MANIFEST = dataclasses.replace(manifest(), input=NEEDS)


def make_series(number: int = 1, slice_count: int = 100, **changes: Any) -> Series:
    """An axial chest CT of 1 mm; further names change the series or, where it has none of that name, its images."""
    names = {field.name for field in dataclasses.fields(Series)}
    of_series = {name: value for name, value in changes.items() if name in names}
    of_images = {name: value for name, value in changes.items() if name not in names}
    image: dict[str, Any] = {
        "sop_class_uid": CT,
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "image_type": ("ORIGINAL", "PRIMARY", "AXIAL"),
        "number_of_frames": 1,
        "image_orientation": AXIAL,
        "slice_thickness_mm": 1.0,
        **of_images,
    }
    images = tuple(
        Instance(sop_instance_uid=f"1.2.{number}.{index}", location=f"{number}/{index}", **image)
        for index in range(slice_count)
    )
    values: dict[str, Any] = {
        "modality": "CT",
        "body_part_examined": "CHEST",
        "instances": images,
        **of_series,
    }
    return Series(series_instance_uid=f"1.2.{number}", **values)


def tilted(degrees: float) -> tuple[float, ...]:
    """An axial image turned about the left-right axis, as by a gantry."""
    angle = math.radians(degrees)
    return (1.0, 0.0, 0.0, 0.0, math.cos(angle), math.sin(angle))


def route(*series: Series) -> Route | Unfit:
    return choose(Study(study_instance_uid="1.2", series=series), MANIFEST)


REFUSALS = {
    "NO_IMAGES": {"number_of_frames": 0},
    "WRONG_MODALITY": {"modality": "MR"},
    "LOCALIZER": {"image_type": ("ORIGINAL", "PRIMARY", "LOCALIZER")},
    "DERIVED_IMAGES": {"image_type": ("DERIVED", "SECONDARY", "MPR")},
    "WRONG_BODY_PART": {"body_part_examined": "HEAD"},
    "GEOMETRY_MISSING": {"image_orientation": None},
    "NOT_AXIAL": {"image_orientation": CORONAL},
    "TOO_FEW_SLICES": {"slice_count": 24},
    "TOO_MANY_SLICES": {"slice_count": 2001},
    "SLICES_TOO_THICK": {"slice_thickness_mm": 8.0},
}


@pytest.mark.parametrize("code", REFUSALS)
def test_each_misfit_is_refused_under_its_own_code(code: str) -> None:
    unfit = route(make_series(**REFUSALS[code]))
    assert isinstance(unfit, Unfit)
    assert unfit.code == code
    assert unfit.text.endswith(".")
    assert MANIFEST.title in unfit.text


def test_every_code_of_a_refusal_has_its_rank() -> None:
    # What a series of radiographs is refused for stands in test_route_radiograph.
    assert set(REFUSALS) | {"SEVERAL_FRAMES", "WRONG_VIEW"} == set(_NEARNESS)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"body_part_examined": ""},
        {"body_part_examined": "chest "},
        {"body_part_examined": "CHESTABDPELVIS"},
        {"slice_thickness_mm": None},
        {"slice_thickness_mm": 5.0},
        {"slice_count": 25},
        {"slice_count": 2000},
        {"image_type": ()},
        {"image_orientation": tilted(24)},
        {"image_orientation": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)},
    ],
    ids=str,
)
def test_what_a_chest_protocol_produces_fits(change: dict[str, Any]) -> None:
    assert check_series(make_series(**change), NEEDS) is None


@pytest.mark.parametrize("orientation", [CORONAL, SAGITTAL, tilted(30)])
def test_reformats_are_not_axial(orientation: tuple[float, ...]) -> None:
    unfit = check_series(make_series(image_orientation=orientation), NEEDS)
    assert unfit is not None
    assert unfit.code == "NOT_AXIAL"


def test_a_few_localizers_inside_a_series_do_not_condemn_it() -> None:
    images = make_series(1, 100).instances + make_series(2, 2, image_type=("LOCALIZER",)).instances
    assert check_series(make_series(instances=images), NEEDS) is None


def test_frames_of_one_instance_count_as_slices() -> None:
    enhanced = make_series(slice_count=1, number_of_frames=120, image_orientation=None)
    chosen = route(enhanced)
    assert isinstance(chosen, Route)
    assert "120 axial CT slices" in chosen.explanation


def test_thin_slices_are_preferred_then_long_series() -> None:
    thick = make_series(1, 300, slice_thickness_mm=3.0)
    thin_short = make_series(2, 80, slice_thickness_mm=1.0)
    thin_long = make_series(3, 200, slice_thickness_mm=1.0)
    chosen = route(thick, thin_short, thin_long)
    assert isinstance(chosen, Route)
    assert chosen.series_instance_uid == "1.2.3"


def test_thinner_than_the_network_needs_is_no_advantage() -> None:
    chosen = route(make_series(1, 300, slice_thickness_mm=0.6), make_series(2, 400, slice_thickness_mm=1.0))
    assert isinstance(chosen, Route)
    assert chosen.series_instance_uid == "1.2.2"


def test_a_series_that_tells_its_thickness_is_preferred_to_one_that_does_not() -> None:
    chosen = route(make_series(1, 400, slice_thickness_mm=None), make_series(2, slice_thickness_mm=5.0))
    assert isinstance(chosen, Route)
    assert chosen.series_instance_uid == "1.2.2"


@pytest.mark.parametrize("order", [1, -1])
def test_the_choice_does_not_depend_on_the_order_of_arrival(order: int) -> None:
    chosen = route(*[make_series(number) for number in (1, 2, 3)][::order])
    assert isinstance(chosen, Route)
    assert chosen.series_instance_uid == "1.2.1"


def test_the_choice_is_explained_with_what_was_left_out() -> None:
    chosen = route(
        make_series(1, slice_thickness_mm=1.25),
        make_series(2, slice_thickness_mm=3.0),
        make_series(3, 2, image_type=("LOCALIZER",)),
        make_series(4, image_orientation=CORONAL),
        make_series(5, image_orientation=SAGITTAL),
    )
    assert isinstance(chosen, Route)
    assert chosen.explanation == (
        "100 axial CT slices of 1.25 mm, the thinnest of 2 series that fit "
        "(not used: 2 × the slices are not axial; 1 × the images are of type localizer)."
    )
    assert (chosen.product, chosen.model_version) == (MANIFEST.product_code, MANIFEST.version)


def test_the_refusal_names_the_nearest_miss() -> None:
    """What a person can mend: not that there was a localizer too, but that the chest series was thick."""
    unfit = route(
        make_series(1, 2, image_type=("LOCALIZER",)),
        make_series(2, slice_thickness_mm=8.0),
        make_series(3, modality="SR", number_of_frames=0),
    )
    assert isinstance(unfit, Unfit)
    assert unfit.code == "SLICES_TOO_THICK"
    assert unfit.text == (
        f"None of 3 series fits {MANIFEST.title}: slices of 8 mm are thicker than the 5 mm it reads."
    )


def test_a_study_without_series_is_refused() -> None:
    unfit = route()
    assert isinstance(unfit, Unfit)
    assert unfit.code == "NO_IMAGES"
