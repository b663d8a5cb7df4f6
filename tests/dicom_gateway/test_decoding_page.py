from __future__ import annotations

import re
from pathlib import Path

from dicom_gateway import geometry
from dicom_gateway.decode import DecodeLimits
from dicom_gateway.decode_errors import ERRORS_BY_CODE

PAGE = (Path(__file__).parents[2] / "docs" / "decoding.md").read_text(encoding="utf-8")


def test_the_page_explains_every_code_and_no_other() -> None:
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", PAGE, re.MULTILINE)) == set(ERRORS_BY_CODE)


def test_the_page_tells_the_limits_and_tolerances_that_hold() -> None:
    limits = DecodeLimits()
    assert f"memory ({limits.memory_bytes >> 30} GiB)" in PAGE
    assert f"time ({limits.cpu_s} s), time on the clock ({limits.wall_clock_s:g} s)" in " ".join(PAGE.split())
    assert f"More than {limits.volume_bytes_max >> 30} GiB of voxels" in PAGE
    assert f"| {geometry.ORIENTATION_TOLERANCE:g} in each direction cosine |" in PAGE
    assert f"| pixel spacing | {geometry.PIXEL_SPACING_TOLERANCE_MM:.4f} mm |" in PAGE
    assert f"| same position | {geometry.SAME_POSITION_MM:g} mm |" in PAGE
    assert f"| position on the regular grid | {geometry.POSITION_TOLERANCE_MM:g} mm," in PAGE
    assert f"| greatest slice distance | {geometry.SLICE_STEP_MAX_MM:g} mm |" in PAGE
    assert f"leans more than {geometry.AXIAL_ANGLE_MAX_DEG:g}°" in PAGE
    assert f"| tilt tag against positions | {geometry.TILT_TOLERANCE_DEG:g}° |" in PAGE
