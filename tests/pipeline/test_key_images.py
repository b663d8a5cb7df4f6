"""Key images: radiological convention, the right place, the stated window."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pipeline.key_images import render_key_images
from pipeline.report_view import KeyImage
from study.nodule import Comparison
from study.volume import Volume
from tests.report_builders import lung_volume
from tests.result_builders import ball


def pixels(image: KeyImage) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image.png)).convert("RGB")).astype(int)


def brightest(image: KeyImage) -> tuple[float, float]:
    """(across, down) in [0, 1] of the soft-tissue ball, away from the marks at the edges."""
    grey = pixels(image)[40:-40, 40:-40, 0]
    rows, columns = np.nonzero(grey > 180)
    return (float(columns.mean()) + 40) / image.width, (float(rows.mean()) + 40) / image.height


def flipped(volume: Volume, axis: int) -> Volume:
    """The same patient, stored with one axis of the image turned round."""
    affine = volume.affine_mm.copy()
    affine[:3, 3] += affine[:3, axis] * (volume.voxels.shape[axis] - 1)
    affine[:3, axis] *= -1
    return replace(volume, voxels=np.flip(volume.voxels, axis).copy(), affine_mm=affine)


def test_each_finding_has_a_whole_slice_and_a_cut_out_with_and_without_overlay() -> None:
    volume = lung_volume()
    images = render_key_images(volume, [ball(volume, (-10, 4, 10), 8.0, id=7)])
    assert [image.name for image in images] == [
        "finding-7-overview.png", "finding-7-plain.png", "finding-7-overlay.png",
    ]  # fmt: skip
    plain, overlay = pixels(images[1]), pixels(images[2])
    coloured = (overlay[..., 0] - overlay[..., 2]) > 60
    assert coloured.any()
    assert not ((plain[..., 0] - plain[..., 2]) > 60).any()
    # The outline runs around the middle of the cut-out.
    rows, columns = np.nonzero(coloured)
    assert abs(rows.mean() / overlay.shape[0] - 0.5) < 0.1
    assert abs(columns.mean() / overlay.shape[1] - 0.5) < 0.1


@pytest.mark.parametrize("axes", [(), (1,), (2,), (1, 2)], ids=str)
def test_the_patients_right_is_at_the_left_however_the_image_is_stored(axes: tuple[int, ...]) -> None:
    """x = -10 is the patient's right, y = 4 is behind the middle of a slice that spans -32 to 31 mm."""
    volume = lung_volume()
    for axis in axes:
        volume = flipped(volume, axis)
    image = render_key_images(volume, [ball(volume, (-10, 4, 10), 8.0)])[0]
    across, down = brightest(image)
    assert across == pytest.approx((-10 + 32.5) / 64, abs=0.03)
    assert down == pytest.approx((4 + 32.5) / 64, abs=0.03)


def test_the_window_is_the_one_that_is_written() -> None:
    volume = lung_volume()
    image = render_key_images(volume, [ball(volume, (-10, 4, 10), 8.0)])[0]
    # W 1500, L -600: -850 HU lies at (−850 + 1350) / 1500 of the grey scale.
    assert int(np.median(pixels(image)[..., 0])) == pytest.approx(85, abs=1)
    assert "W 1500 L -600" in image.caption


def test_what_was_compared_is_shown_in_the_prior_at_the_same_place_and_size() -> None:
    volume = lung_volume()
    affine = volume.affine_mm.copy()
    affine[0, 3] += 3.0  # breathed elsewhere
    moved = replace(volume, affine_mm=affine)
    found = ball(volume, (-10, 4, 10), 8.0)
    then = Comparison("matched", "20240901", 100, 8.0, 268.0, center_lps_mm=(-7.0, 4.0, 10.0))
    images = render_key_images(volume, [replace(found, comparison=then)], moved)
    assert [image.kind for image in images] == ["overview", "plain", "overlay", "prior"]
    plain, prior = images[1], images[3]
    assert (plain.width, plain.height) == (prior.width, prior.height)
    assert brightest(prior) == pytest.approx(brightest(plain), abs=0.03)


@pytest.mark.parametrize("place", [None, (900.0, 0.0, 0.0)])
def test_a_place_that_the_prior_does_not_show_has_no_picture(
    place: tuple[float, float, float] | None,
) -> None:
    volume = lung_volume()
    then = Comparison("new", "20240901", 100, center_lps_mm=place)
    images = render_key_images(volume, [replace(ball(volume, (-10, 4, 10), 8.0), comparison=then)], volume)
    assert len(images) == 3


def test_a_finding_at_the_edge_is_drawn_whole() -> None:
    volume = lung_volume()
    images = render_key_images(volume, [ball(volume, (-31, -31, 10), 6.0)])
    assert {(image.width, image.height) for image in images} == {(480, 480)}


def test_pixels_that_are_not_square_keep_true_proportions() -> None:
    volume = lung_volume()
    affine = volume.affine_mm.copy()
    affine[:3, 1] *= 2
    stretched = replace(volume, affine_mm=affine)
    image = render_key_images(stretched, [ball(stretched, (-10, 4, 10), 8.0)])[0]
    assert (image.width, image.height) == (240, 480)
