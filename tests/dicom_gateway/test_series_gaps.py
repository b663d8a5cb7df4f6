"""Slices that are missing inside what has arrived."""

from __future__ import annotations

import random

import pytest

from dicom_gateway.series_gaps import longest_pause_s, missing_slices
from study.study import Instance, Series

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def image(number: int, z_mm: float | None, orientation: tuple[float, ...] = AXIAL) -> Instance:
    return Instance(
        sop_instance_uid=f"1.2.3.{number}", sop_class_uid="1.2", transfer_syntax_uid="1.2", location="",
        instance_number=number, number_of_frames=1,
        image_position_mm=None if z_mm is None else (0.0, 0.0, z_mm),
        image_orientation=None if z_mm is None else orientation,
    )  # fmt: skip


def series(images: list[Instance]) -> Series:
    random.Random(1).shuffle(images)
    return Series("1.2.3", "CT", tuple(images))


def stack(count: int, *without: int, step_mm: float = 1.25) -> Series:
    return series([image(n + 1, -n * step_mm) for n in range(count) if n not in without])


def test_a_whole_stack_lacks_nothing() -> None:
    assert missing_slices(stack(100)) == 0


@pytest.mark.parametrize("without", [{40}, {10, 11, 12, 70}, set(range(30, 42))])
def test_the_holes_of_a_regular_stack_are_counted(without: set[int]) -> None:
    assert missing_slices(stack(100, *without)) == len(without)


def test_a_stack_that_ends_early_shows_no_hole() -> None:
    """What is missing at an end only a list can tell."""
    assert missing_slices(stack(100, *range(60, 100))) == 0


def test_spacing_that_is_irregular_by_nature_is_no_hole() -> None:
    rng = random.Random(2)
    assert missing_slices(series([image(n, n * 5 + rng.uniform(-2, 2)) for n in range(1, 40)])) == 0


def test_each_place_of_a_dynamic_series_has_as_many_images_as_the_others() -> None:
    images = [image(phase * 20 + n, n * 3.0) for phase in range(4) for n in range(20)]
    assert missing_slices(series(images)) == 0
    assert missing_slices(series(images[:-2])) == 2


def test_localizers_in_several_planes_have_no_rhythm() -> None:
    sagittal = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
    images = [image(n, n * 10.0) for n in range(5)] + [image(9 + n, n * 30.0, sagittal) for n in range(5)]
    assert missing_slices(series(images)) == 0


def test_without_positions_the_instance_numbers_tell() -> None:
    assert missing_slices(series([image(n, None) for n in range(1, 31) if n not in (7, 8)])) == 2
    assert missing_slices(series([image(n, None) for n in range(1, 61, 2)])) == 0


def test_positions_overrule_numbers_with_holes() -> None:
    assert missing_slices(series([image(2 * n, n * 1.0) for n in range(50)])) == 0


def test_a_handful_of_images_shows_nothing() -> None:
    assert missing_slices(stack(6, 2)) == 0


class TestPauses:
    def arrived(self, *times_and_numbers: tuple[float, int]) -> list[tuple[float, str, Instance]]:
        return [(at_s, "1.2.3", image(number + 1, -number * 1.25)) for at_s, number in times_and_numbers]

    def test_a_pause_in_which_a_slice_was_seen_to_be_missing_is_no_habit(self) -> None:
        """Slice 5 failed, and came two minutes after the others."""
        first = [(n * 0.1, n) for n in range(20) if n != 5]
        assert longest_pause_s(self.arrived(*first, (122.0, 5)), 600.0) == pytest.approx(0.2)

    def test_a_pause_that_nothing_gave_away_counts(self) -> None:
        first = [(n * 0.1, n) for n in range(20)]
        rest = [(40.0 + n * 0.1, n) for n in range(20, 40)]
        assert longest_pause_s(self.arrived(*first, *rest), 600.0) == pytest.approx(40.1, abs=0.2)
        assert longest_pause_s(self.arrived(*first, (900.0, 20)), 600.0) == pytest.approx(0.1)
        assert longest_pause_s(self.arrived((0.0, 1)), 600.0) == 0.0

    def test_nor_does_one_in_which_an_association_broke_off(self) -> None:
        first = [(n * 0.1, n) for n in range(20)]
        rest = [(40.0 + n * 0.1, n) for n in range(20, 40)]
        arrived = self.arrived(*first, *rest)
        assert longest_pause_s(arrived, 600.0, broken_s=[2.5]) == pytest.approx(0.1)
        assert longest_pause_s(arrived, 600.0, broken_s=[50.0]) == pytest.approx(40.1, abs=0.2)
