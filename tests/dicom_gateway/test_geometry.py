from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_gateway.decode_errors import (
    GantryTilt,
    GeometryInvalid,
    GeometryNotUniform,
    MissingSlices,
    NotAxial,
    SingleSlice,
)
from dicom_gateway.geometry import Plane, Stack, common_axes, equal_heights, heights_mm, stack
from dicom_gateway.shear import shift_slice, upright_grid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SPACING_MM = (0.7, 0.8)


def plane(z_mm: float, **changes: object) -> Plane:
    values: dict[str, object] = {
        "position_mm": (-100.0, -120.0, z_mm),
        "orientation": AXIAL,
        "spacing_mm": SPACING_MM,
        "size": (4, 5),
    }
    return Plane(**(values | changes))  # type: ignore[arg-type]


def stacked(planes: list[Plane], tilt_tag_deg: float | None = None) -> Stack:
    return stack(planes, common_axes(planes), tilt_tag_deg)


def tilted(degrees: float, count: int = 10, step_mm: float = 2.5) -> list[Plane]:
    """Slices that lean by `degrees` about x while the table moves along z."""
    angle = math.radians(degrees)
    orientation = (1.0, 0.0, 0.0, 0.0, math.cos(angle), -math.sin(angle))
    return [plane(step_mm * index, orientation=orientation) for index in range(count)]


def test_slices_are_ordered_along_the_normal_and_not_as_given() -> None:
    heights = [3.0, 0.0, 2.0, 1.0]
    result = stacked([plane(z) for z in heights])
    assert result.order == (1, 3, 2, 0)
    assert result.shear_pixels is None
    np.testing.assert_allclose(result.affine_mm @ [2, 0, 0, 1], [-100, -120, 2, 1])


def test_the_affine_maps_row_and_column_with_their_own_spacing() -> None:
    affine = stacked([plane(0.0), plane(2.0)]).affine_mm
    np.testing.assert_allclose(affine @ [0, 1, 0, 1], [-100, -120 + 0.7, 0, 1])
    np.testing.assert_allclose(affine @ [0, 0, 1, 1], [-100 + 0.8, -120, 0, 1])


def test_with_rows_running_to_the_right_the_lowest_slice_along_the_normal_is_the_highest_of_the_body() -> (
    None
):
    flipped = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    result = stacked([plane(z, orientation=flipped) for z in (0.0, 1.0, 2.0)])
    assert result.order == (2, 1, 0)
    np.testing.assert_allclose(result.affine_mm[:3, 0], [0, 0, -1])


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"position_mm": None}, GeometryInvalid),
        ({"position_mm": (0.0, 0.0, 1e9)}, GeometryInvalid),
        ({"orientation": None}, GeometryInvalid),
        ({"orientation": (5.0, 0.0, 0.0, 0.0, 5.0, 0.0)}, GeometryInvalid),
        ({"orientation": (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)}, GeometryInvalid),
        ({"spacing_mm": None}, GeometryInvalid),
        ({"spacing_mm": (0.0, 0.0)}, GeometryInvalid),
        ({"spacing_mm": (-0.7, 0.7)}, GeometryInvalid),
        ({"spacing_mm": (0.7, 0.9)}, GeometryNotUniform),
        ({"orientation": (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)}, GeometryNotUniform),
        ({"size": (4, 6)}, GeometryNotUniform),
    ],
)
def test_one_slice_with_bad_or_other_geometry_refuses_the_stack(
    changes: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        stacked([plane(0.0), plane(1.0), plane(2.0, **changes)])


def test_a_single_slice_is_refused() -> None:
    with pytest.raises(SingleSlice):
        stacked([plane(0.0)])


def test_coronal_slices_are_refused() -> None:
    with pytest.raises(NotAxial, match="90°"):
        stacked([plane(0.0, orientation=(1.0, 0.0, 0.0, 0.0, 0.0, -1.0))] * 2)


def test_missing_slices_are_named_by_their_position() -> None:
    with pytest.raises(MissingSlices, match="2 slices are missing") as caught:
        stacked([plane(z) for z in (0.0, 2.0, 4.0, 6.0, 12.0, 14.0)])
    assert caught.value.details == {"missing_z_mm": [8.0, 10.0], "step_mm": 2.0}


def test_an_increment_that_changes_half_way_is_not_called_missing_slices() -> None:
    with pytest.raises(GeometryNotUniform, match=r"from 1\.00 to 2\.00 mm"):
        stacked([plane(z) for z in (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 12.0)])


def test_positions_rounded_to_a_tenth_of_a_millimetre_are_one_regular_stack() -> None:
    exact = 0.625
    result = stacked([plane(round(exact * index, 1)) for index in range(200)])
    assert np.linalg.norm(result.affine_mm[:3, 0]) == pytest.approx(exact, abs=1e-3)


def test_a_slice_that_is_off_the_line_of_the_others_is_refused() -> None:
    planes = [plane(float(index)) for index in range(9)]
    planes[4] = plane(4.0, position_mm=(-100.0, -115.0, 4.0))
    with pytest.raises(GeometryNotUniform, match="off the straight line"):
        stacked(planes)


def test_slices_further_apart_than_any_scan_protocol_are_refused() -> None:
    with pytest.raises(GeometryNotUniform, match="25"):
        stacked([plane(25.0 * index) for index in range(4)])


def test_equal_positions_are_grouped_within_the_tolerance() -> None:
    planes = [plane(z) for z in (5.0, 0.0, 5.01, 2.5)]
    assert equal_heights(heights_mm(planes, common_axes(planes))) == [[1], [3], [0, 2]]


class TestGantryTilt:
    """PS3.3 C.8.2.1.1.7: nominal angle of tilt in degrees of the scanning gantry."""

    def test_the_angle_is_measured_from_the_positions(self) -> None:
        result = stacked(tilted(18.5), tilt_tag_deg=-18.5)
        assert result.tilt_deg == pytest.approx(18.5)
        assert result.shear_pixels is not None

    def test_a_tilt_that_no_tag_tells_is_corrected_all_the_same(self) -> None:
        assert stacked(tilted(14.0)).tilt_deg == pytest.approx(14.0)

    @pytest.mark.parametrize(("measured", "tag"), [(18.5, 0.0), (0.0, 18.5), (10.0, 20.0)])
    def test_a_tag_that_contradicts_the_positions_refuses_the_series(
        self, measured: float, tag: float
    ) -> None:
        with pytest.raises(GantryTilt):
            stacked(tilted(measured), tilt_tag_deg=tag)

    def test_slices_stacked_along_a_leaning_normal_need_no_correction(self) -> None:
        angle = math.radians(12.0)
        orientation = (1.0, 0.0, 0.0, 0.0, math.cos(angle), -math.sin(angle))
        normal = (0.0, math.sin(angle), math.cos(angle))
        planes = [
            plane(0.0, orientation=orientation, position_mm=tuple(2.0 * index * n for n in normal))
            for index in range(6)
        ]
        assert stacked(planes, tilt_tag_deg=12.0).shear_pixels is None

    @settings(max_examples=25, deadline=None)
    @given(degrees=st.floats(-30, 30).filter(lambda angle: abs(angle) > 4), seed=st.integers(0, 2**31))
    def test_a_point_keeps_its_place_in_the_patient(self, degrees: float, seed: int) -> None:
        """A linear density in patient space reads the same through the corrected grid."""
        planes = tilted(degrees, count=8)
        result = stacked(planes)
        grid = upright_grid(result, (30, 30))
        slope = np.random.default_rng(seed).uniform(-20, 20, 3)
        rows, columns = np.mgrid[0:30, 0:30]
        for index, source in enumerate(result.order):
            position, orientation = np.array(planes[source].position_mm), np.array(planes[source].orientation)
            points = (
                position
                + rows[..., None] * 0.7 * orientation[3:]
                + columns[..., None] * 0.8 * orientation[:3]
            )
            image = np.rint((points - [-90.0, -110.0, 10.0]) @ slope * 10).astype(np.int16)
            moved = shift_slice(image, grid, index)
            row = random.Random(seed).randrange(5, 25) + math.ceil(grid.shifts[index, 0])
            if row >= min(grid.size[0], 29 + math.floor(grid.shifts[index, 0])):
                continue
            point = (grid.affine_mm @ [index, row, 15, 1])[:3]
            expected = float((point - [-90.0, -110.0, 10.0]) @ slope * 10)
            assert moved[row, 15] == pytest.approx(expected, abs=2)


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(2, 40),
    step_mm=st.floats(0.3, 10.0),
    lean_deg=st.floats(-20, 20),
    flip=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_any_upright_stack_comes_back_with_its_own_positions(
    count: int, step_mm: float, lean_deg: float, flip: bool, seed: int
) -> None:
    angle = math.radians(lean_deg)
    sign = -1.0 if flip else 1.0
    row, column = np.array([sign, 0, 0]), np.array([0, math.cos(angle), -math.sin(angle)])
    normal = np.cross(row, column)
    origin = np.random.default_rng(seed).uniform(-500, 500, 3)
    planes = [
        plane(0.0, position_mm=tuple(origin + index * step_mm * normal), orientation=(*row, *column))
        for index in range(count)
    ]
    shuffled = random.Random(seed).sample(range(count), count)
    result = stacked([planes[index] for index in shuffled])
    assert [shuffled[index] for index in result.order] == list(range(count))
    for index in range(count):
        np.testing.assert_allclose(
            (result.affine_mm @ [index, 0, 0, 1])[:3], planes[index].position_mm, atol=1e-6
        )
