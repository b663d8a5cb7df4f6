from __future__ import annotations

import numpy as np

from models.ops.lobe_of import lobe_of
from study.answer import Structure
from study.codes import LUNG
from study.findings import Segment


def _block(label: str, origin: tuple[int, int, int], shape: tuple[int, int, int]) -> Structure:
    return Structure(label, LUNG, Segment(np.ones(shape, np.bool_), origin), 1.0, -850.0, "2.25.1")


UPPER = _block("upper", (20, 10, 10), (20, 30, 30))
LOWER = _block("lower", (0, 10, 10), (20, 30, 30))
SPACING = (2.0, 0.5, 0.5)


def test_a_point_is_in_the_structure_that_holds_it() -> None:
    assert lobe_of([UPPER, LOWER], (25.0, 20.0, 20.0), SPACING) == "upper"
    assert lobe_of([UPPER, LOWER], (19.2, 20.0, 20.0), SPACING) == "lower"


def test_a_point_outside_all_is_given_to_the_nearest_within_ten_millimetres() -> None:
    assert lobe_of([UPPER, LOWER], (30.0, 58.0, 20.0), SPACING) == "upper"  # 19 rows of 0.5 mm
    assert lobe_of([UPPER, LOWER], (30.0, 60.0, 20.0), SPACING) is None  # 21 rows
    assert lobe_of([UPPER, LOWER], (44.0, 20.0, 20.0), SPACING) == "upper"  # 5 slices of 2 mm
    assert lobe_of([UPPER, LOWER], (44.6, 20.0, 20.0), SPACING) is None


def test_a_point_outside_the_volume_is_in_nothing() -> None:
    assert lobe_of([UPPER, LOWER], (-500.0, 20.0, 9000.0), SPACING) is None
    assert lobe_of([], (1.0, 2.0, 3.0), SPACING) is None
