"""Key images: the measured slice of a finding as PNG, in radiological convention, lung window."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.report_view import KeyImage
from study.findings import Finding, Point
from study.volume import Volume

WINDOW_WIDTH_HU = 1500
WINDOW_CENTER_HU = -600
_KINDS = ("overview", "plain", "overlay")
_PRIOR = "prior"
_SIZE_PX = 480
_CROP_MM_MIN = 50.0
_MARK = (255, 208, 60)
_TEXT = (235, 235, 235)
_EDGE = (0, 0, 0)
# Letters of the patient's sides along +x, -x, +y, -y, +z, -z of LPS (PS3.3 C.7.6.1.1.1).
_LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))


_Place = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class _Plane:
    """A slice turned so that the patient's right is at the left and the front is up.

    pixels: int16 (row, column) HU. rows, columns: unit vectors in LPS of growing row and column.
    spacing: mm between rows and between columns. origin: LPS mm of the first pixel's centre.
    """

    pixels: NDArray[np.int16]
    origin: NDArray[np.float64]
    rows: NDArray[np.float64]
    columns: NDArray[np.float64]
    spacing: tuple[float, float]

    def to_pixels(self, points_lps_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """(column, row) of points, centre of the first pixel at 0."""
        offset = np.asarray(points_lps_mm, dtype=np.float64) - self.origin
        return np.stack(
            [offset @ self.columns / self.spacing[1], offset @ self.rows / self.spacing[0]], axis=-1
        )


def render_key_images(
    volume: Volume, findings: Sequence[Finding], prior: Volume | None = None
) -> list[KeyImage]:
    """Three pictures of each finding, in the order given, and of those compared its place in the prior's images."""
    images: list[KeyImage] = []
    for finding in findings:
        plane = _plane(volume, finding.slice_index)
        images += [_image(volume, plane, finding, kind) for kind in _KINDS]
        images += _prior_image(prior, finding) if prior is not None else ()
    return images


def _prior_image(prior: Volume, finding: Finding) -> Iterator[KeyImage]:
    """The cut-out around the same place, of the same size, without marks; none where the prior does not reach."""
    place = finding.comparison.center_lps_mm if finding.comparison is not None else None
    if place is None:
        return
    index = prior.to_index(np.asarray(place))
    if not ((index > -0.5) & (index < np.asarray(prior.voxels.shape) - 0.5)).all():
        return
    plane = _plane(prior, int(np.rint(index[0])))
    box = _cut_out(plane, place, finding.long_axis_mm)
    picture = _windowed(plane.pixels, box, plane.spacing)
    mm_per_pixel = plane.spacing[1] * (box[2] - box[0]) / picture.width
    _draw_frame(ImageDraw.Draw(picture), picture, plane, mm_per_pixel)
    yield _key_image(picture, finding, _PRIOR)


def _plane(volume: Volume, slice_index: int) -> _Plane:
    pixels: NDArray[np.int16] = volume.voxels[slice_index]
    _, row_mm, column_mm = volume.spacing_mm
    rows, columns = volume.affine_mm[:3, 1] / row_mm, volume.affine_mm[:3, 2] / column_mm
    corner = np.zeros(3)
    corner[0] = slice_index
    if columns[np.argmax(np.abs(columns))] < 0:
        pixels, columns, corner[2] = pixels[:, ::-1], -columns, pixels.shape[1] - 1
    if rows[np.argmax(np.abs(rows))] < 0:
        pixels, rows, corner[1] = pixels[::-1], -rows, pixels.shape[0] - 1
    return _Plane(pixels, volume.to_lps_mm(corner), rows, columns, (row_mm, column_mm))


def _image(volume: Volume, plane: _Plane, finding: Finding, kind: str) -> KeyImage:
    box = (
        _whole(plane) if kind == "overview" else _cut_out(plane, finding.center_lps_mm, finding.long_axis_mm)
    )
    picture = _windowed(plane.pixels, box, plane.spacing)
    draw = ImageDraw.Draw(picture)
    scale = picture.width / (box[2] - box[0]), picture.height / (box[3] - box[1])

    def place(points_lps_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where LPS points lie in the picture; pixel centres are half a pixel inside their edges."""
        return np.asarray((plane.to_pixels(points_lps_mm) + 0.5 - np.asarray(box[:2])) * np.asarray(scale))

    if kind == "overview":
        _draw_box(draw, place(_square(finding)), finding.id)
    elif kind == "overlay":
        _draw_outline(draw, volume, finding, place)
    _draw_frame(draw, picture, plane, plane.spacing[1] / scale[0])
    return _key_image(picture, finding, kind)


def _key_image(picture: Image.Image, finding: Finding, kind: str) -> KeyImage:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    caption = f"Finding {finding.id}, {kind}, window W {WINDOW_WIDTH_HU} L {WINDOW_CENTER_HU} HU"
    return KeyImage(
        name=f"finding-{finding.id}-{kind}.png",
        png=buffer.getvalue(),
        caption=caption,
        finding_id=finding.id,
        kind=kind,
        width=picture.width,
        height=picture.height,
    )


def _whole(plane: _Plane) -> tuple[int, int, int, int]:
    return 0, 0, plane.pixels.shape[1], plane.pixels.shape[0]


def _cut_out(plane: _Plane, center: Point, long_axis_mm: float) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) in pixels around a finding, square in mm, inside the slice."""
    side_mm = max(_CROP_MM_MIN, 2.2 * long_axis_mm)
    column, row = plane.to_pixels(np.asarray(center))
    edges: list[tuple[int, int]] = []
    for middle, spacing, length in zip(
        (column, row), (plane.spacing[1], plane.spacing[0]), plane.pixels.shape[::-1], strict=True
    ):
        count = min(max(8, round(side_mm / spacing)), length)
        first = min(max(0, round(middle + 0.5 - count / 2)), length - count)
        edges.append((first, first + count))
    (left, right), (top, bottom) = edges
    return left, top, right, bottom


def _windowed(
    pixels: NDArray[np.int16], box: tuple[int, int, int, int], spacing: tuple[float, float]
) -> Image.Image:
    """The cut-out in lung window (PS3.3 C.11.2.1.2), enlarged to true proportions."""
    left, top, right, bottom = box
    low = WINDOW_CENTER_HU - WINDOW_WIDTH_HU / 2
    grey = (pixels[top:bottom, left:right].astype(np.float32) - low) / WINDOW_WIDTH_HU * 255
    picture = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))
    width_mm, height_mm = (right - left) * spacing[1], (bottom - top) * spacing[0]
    scale = _SIZE_PX / max(width_mm, height_mm)
    size = max(1, round(width_mm * scale)), max(1, round(height_mm * scale))
    return picture.resize(size, Image.Resampling.BICUBIC).convert("RGB")


def _square(finding: Finding) -> NDArray[np.float64]:
    """Two corners of a box around the finding on its slice, with room to see its edge."""
    half = max(10.0, 0.5 * finding.long_axis_mm + 6.0)
    center = np.asarray(finding.center_lps_mm)
    corner = np.asarray([half, half, 0.0])
    return np.stack([center - corner, center + corner])


def _draw_box(draw: ImageDraw.ImageDraw, corners: NDArray[np.float64], number: int) -> None:
    left, top = corners.min(axis=0)
    right, bottom = corners.max(axis=0)
    draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=_EDGE, width=4)
    draw.rectangle((left, top, right, bottom), outline=_MARK, width=2)
    beside = right + 5 if right < 0.9 * _SIZE_PX else left - 20
    _text(draw, (float(beside), float(top) - 4), str(number), 26, _MARK)


def _draw_outline(draw: ImageDraw.ImageDraw, volume: Volume, finding: Finding, place: _Place) -> None:
    segment = finding.segment
    depth = finding.slice_index - segment.origin[0] if segment is not None else -1
    if segment is not None and 0 <= depth < segment.mask.shape[0]:
        lines = []
        for edge in _edges(segment.mask[depth]):
            index = np.insert(edge + np.asarray(segment.origin[1:]), 0, finding.slice_index, axis=1)
            lines.append([tuple(point) for point in place(volume.to_lps_mm(index))])
        # A dark edge below: on bright tissue and in grey print the colour alone is not seen.
        for colour, width in ((_EDGE, 4), (_MARK, 2)):
            for line in lines:
                draw.line(line, fill=colour, width=width)
    for axis in (finding.long_axis_lps_mm, finding.short_axis_lps_mm):
        _dashes(draw, place(np.asarray(axis)))


def _edges(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Edges between pixels inside and outside, each as two (row, column) points on pixel corners."""
    padded = np.pad(mask, 1)
    vertical = np.argwhere(padded[:, 1:] != padded[:, :-1]) - (1.0, 0.5)
    horizontal = np.argwhere(padded[1:, :] != padded[:-1, :]) - (0.5, 1.0)
    down, along = np.asarray([0.5, 0.0]), np.asarray([0.0, 0.5])
    lines = [np.stack([at - down, at + down]) for at in vertical]
    return lines + [np.stack([at - along, at + along]) for at in horizontal]


def _dashes(draw: ImageDraw.ImageDraw, ends: NDArray[np.float64]) -> None:
    """A dashed line: the axes must not be taken for the outline in grey print."""
    length = float(np.linalg.norm(ends[1] - ends[0]))
    count = max(1, int(length / 10))
    steps = np.linspace(0.0, 1.0, 2 * count)
    points = ends[0] + steps[:, None] * (ends[1] - ends[0])
    for start, stop in zip(points[::2], points[1::2], strict=True):
        draw.line([tuple(start), tuple(stop)], fill=_EDGE, width=4)
        draw.line([tuple(start), tuple(stop)], fill=_TEXT, width=2)


def _draw_frame(draw: ImageDraw.ImageDraw, picture: Image.Image, plane: _Plane, mm_per_pixel: float) -> None:
    """Orientation letters on all four sides, the window, and a scale bar."""
    width, height = picture.size
    right, left = _letter(plane.columns), _letter(-plane.columns)
    bottom, top = _letter(plane.rows), _letter(-plane.rows)
    for at, letter in (
        ((8, height / 2 - 15), left),
        ((width - 26, height / 2 - 15), right),
        ((width / 2 - 9, 4), top),
        ((width / 2 - 9, height - 36), bottom),
    ):
        _text(draw, at, letter, 28, _TEXT)
    _text(draw, (8, height - 30), f"W {WINDOW_WIDTH_HU}  L {WINDOW_CENTER_HU}", 20, _TEXT)
    bar_mm = next((mm for mm in (100, 50, 20, 10, 5) if mm / mm_per_pixel < 0.3 * width), 5)
    x, y = width - 12, height - 12
    bar = [(x - bar_mm / mm_per_pixel, y), (x, y)]
    draw.line(bar, fill=_EDGE, width=7)
    draw.line(bar, fill=_TEXT, width=3)
    _text(draw, (x - bar_mm / mm_per_pixel, y - 28), f"{bar_mm} mm", 20, _TEXT)


def _letter(direction: NDArray[np.float64]) -> str:
    axis = int(np.argmax(np.abs(direction)))
    return _LETTERS[axis][0 if direction[axis] > 0 else 1]


def _text(
    draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: int, colour: tuple[int, int, int]
) -> None:
    """Text with a dark edge, so that it reads on bright bone too."""
    font = ImageFont.load_default(size)
    draw.text(at, text, fill=colour, font=font, stroke_width=2, stroke_fill=_EDGE)
