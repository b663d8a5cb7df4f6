"""The pictures of a secondary capture: each key image with its marks burned in, over words that say what it is.

A negative result is a page of words, so that a PACS that takes only pictures does not show a positive result and a
missing one alike.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dicom_gateway.encode_gsps import LUNG_WINDOW_HU
from dicom_gateway.encode_sc import Capture
from dicom_gateway.key_slices import KeySlice, Mark, key_slices
from dicom_gateway.result_context import ResultContext
from dicom_gateway.slice_geometry import slice_geometry
from pipeline.radiograph_images import window_of
from pipeline.report_fonts import picture_font
from study.radiograph import Radiograph

# Longer side of the image, and the pictures of one result; what is beyond stands in SR and PDF.
_SIZE_PX, _PICTURES_MAX = 768, 12
_MARGIN, _LABEL_PX = 12, 22
_MARKS = ((255, 208, 60), (94, 201, 255), (255, 138, 101), (144, 238, 144), (221, 160, 255))
_TEXT, _WARNING, _PAPER = (235, 235, 235), (255, 208, 60), (0, 0, 0)
# Letters of the patient's sides along +x, -x, +y, -y, +z, -z of LPS (PS3.3 C.7.6.1.1.1).
_LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))
_WORD = re.compile(r"[^\s\u2e80-\uffef]+\s*|\s+|[\u2e80-\uffef]")


def draw_captures(context: ResultContext) -> list[Capture]:
    """The key images in their order, the first `_PICTURES_MAX`; a page of words where there is none."""
    chosen = key_slices(context)
    if not chosen:
        return [
            Capture(
                _with_words(
                    context,
                    None,
                    [context.words.conclusion(context), context.words.what_was_assessed(context)],
                ),
                None,
                "Text",
            )
        ]
    shown = chosen[:_PICTURES_MAX]
    return [
        _capture(context, one, number, len(shown), len(chosen)) for number, one in enumerate(shown, start=1)
    ]


def draw_page(context: ResultContext, title: str, lines: list[str]) -> Capture:
    """A page of words under a title."""
    return Capture(_with_words(context, None, lines, title), None, "Text")


def _capture(context: ResultContext, one: KeySlice, number: int, shown: int, count: int) -> Capture:
    grey, window = _grey(context, one)
    picture = Image.fromarray(grey).convert("RGB")
    spacing = _spacing(context)
    width, height = grey.shape[1] * spacing[1], grey.shape[0] * spacing[0]
    scale = _SIZE_PX / max(width, height)
    picture = picture.resize(
        (max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BICUBIC
    )
    draw = ImageDraw.Draw(picture)
    factor = np.asarray([picture.width / grey.shape[1], picture.height / grey.shape[0]])
    labels: list[tuple[float, float, float]] = []
    for mark in one.marks:
        _draw(draw, mark, context, one, factor, labels)
    _draw_letters(draw, picture, context)
    lines = [context.words.picture_of(number, shown, count), window, context.words.conclusion(context)]
    words = f"Key image with burned-in marks of an AI result. {window}."
    return Capture(_with_words(context, picture, lines), one, words)


def _grey(context: ResultContext, one: KeySlice) -> tuple[NDArray[np.uint8], str]:
    """8 bit, and the window in words."""
    if isinstance(context.image, Radiograph):
        low, high = window_of(context.image)
        pixels, unit = context.image.pixels, ""
    else:
        assert one.slice_index is not None
        center, width = LUNG_WINDOW_HU
        low, high = center - width / 2, center + width / 2
        pixels, unit = context.volume.voxels[one.slice_index], " HU"
    grey = (pixels.astype(np.float32) - low) / max(high - low, 1.0) * 255
    words = context.words.window(high - low, (high + low) / 2, unit)
    return np.clip(grey, 0, 255).astype(np.uint8), words


def _spacing(context: ResultContext) -> tuple[float, float]:
    if isinstance(context.image, Radiograph):
        return context.image.spacing_mm or (1.0, 1.0)
    return context.volume.spacing_mm[1], context.volume.spacing_mm[2]


def _draw(
    draw: ImageDraw.ImageDraw,
    mark: Mark,
    context: ResultContext,
    one: KeySlice,
    factor: NDArray[np.float64],
    labels: list[tuple[float, float, float]],
) -> None:
    """The outline and its label; the axes would hide what is small. labels: (left, top, right) of those before."""
    colour = _MARKS[len(labels) % len(_MARKS)]
    line = _on_picture(mark.outline, context, one) * factor
    draw.line([tuple(point) for point in line], fill=colour, width=2)
    (right, _), (left, top) = line.max(axis=0), line.min(axis=0)
    font = picture_font(_LABEL_PX)
    length = font.getlength(mark.label)
    x = right + 6 if right + 6 + length < _SIZE_PX else max(0.0, left - 6 - length)
    y = max(0.0, top - 8)
    while any(abs(y - taken[1]) < _LABEL_PX and x < taken[2] and taken[0] < x + length for taken in labels):
        y += _LABEL_PX
    labels.append((x, y, x + length))
    draw.text((x, y), mark.label, fill=colour, font=font, stroke_width=2, stroke_fill=_PAPER)


def _on_picture(points: NDArray[np.float64], context: ResultContext, one: KeySlice) -> NDArray[np.float64]:
    """From the source image to the pixels shown: a volume set upright has its slices shifted in their planes."""
    if one.slice_index is None:
        return points
    geometry = slice_geometry(one.header, one.frame_number)
    steps = (points - 0.5) * np.asarray(geometry.spacing[::-1])
    lps = geometry.origin + steps[:, :1] * geometry.row + steps[:, 1:] * geometry.column
    return context.volume.to_index(lps)[:, :0:-1] + 0.5


def _draw_letters(draw: ImageDraw.ImageDraw, picture: Image.Image, context: ResultContext) -> None:
    """Which side of the patient lies at the left and at the top; a radiograph says so itself."""
    if isinstance(context.image, Radiograph):
        return
    affine, font = context.volume.affine_mm, picture_font(26)
    draw.text((8, picture.height / 2 - 13), _letter(-affine[:3, 2]), fill=_TEXT, font=font)
    draw.text((picture.width / 2 - 9, 4), _letter(-affine[:3, 1]), fill=_TEXT, font=font)


def _letter(direction: NDArray[np.float64]) -> str:
    axis = int(np.argmax(np.abs(direction)))
    return _LETTERS[axis][0 if direction[axis] > 0 else 1]


def _with_words(
    context: ResultContext, picture: Image.Image | None, lines: list[str], title_words: str = ""
) -> NDArray[np.uint8]:
    """The warning above the picture, `lines` and who made it below."""
    title, small = picture_font(28), picture_font(18)
    made_by = f"{context.model_name} {context.model_version}. {context.clearance_status}"
    folded = [part for line in (*lines, made_by) for part in _folded(line, _SIZE_PX - 2 * _MARGIN)]
    head, line_height = 28 + 2 * _MARGIN, 26
    middle = picture.height if picture is not None else 0
    page = Image.new("RGB", (_SIZE_PX, head + middle + len(folded) * line_height + 2 * _MARGIN), _PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((_MARGIN, _MARGIN - 2), title_words or context.words.not_reviewed, fill=_WARNING, font=title)
    if picture is not None:
        page.paste(picture, ((_SIZE_PX - picture.width) // 2, head))
    for number, line in enumerate(folded):
        draw.text((_MARGIN, head + middle + _MARGIN + number * line_height), line, fill=_TEXT, font=small)
    return np.asarray(page)


def _folded(text: str, width: int) -> list[str]:
    """Lines that fit; Chinese breaks between any two characters."""
    font, lines = picture_font(18), [""]
    for word in _WORD.findall(text):
        if lines[-1] and font.getlength(lines[-1] + word.rstrip()) > width:
            lines.append("")
        lines[-1] += word
    return [line.rstrip() for line in lines]
