"""Pictures of a radiograph for its report: as it was shown, and with the model's map over it."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.report_view import KeyImage
from study.answer import Classification
from study.radiograph import Radiograph

_SIZE_PX = 640
_MARK = (255, 208, 60)
_HEAT = np.array([255.0, 96.0, 0.0], np.float32)
_HEAT_SHARE_MAX = 0.45
# Where a map is lower than this share of its greatest value nothing is laid over the picture.
_HEAT_FROM = 0.35


def render_radiograph(image: Radiograph, statements: Sequence[Classification]) -> list[KeyImage]:
    """The plain picture, then one overlay for each positive statement, numbered as the statements are."""
    grey = _shown(image)
    pictures = [_key_image(Image.fromarray(grey).convert("RGB"), 0, "plain")]
    for number, statement in enumerate(statements, start=1):
        if statement.is_positive and statement.saliency is not None:
            pictures.append(_key_image(_overlay(grey, image, statement, number), number, "overlay"))
    return pictures


def window_of(image: Radiograph) -> tuple[float, float]:
    """(low, high) of its pixels: the sender's window, or else nearly all values."""
    step = max(1, max(image.pixels.shape) // (2 * _SIZE_PX))
    low, high = image.window or np.quantile(image.pixels[::step, ::step], (0.005, 0.995))
    return float(low), float(high)


def _shown(image: Radiograph) -> NDArray[np.uint8]:
    """8 bit, the longer side `_SIZE_PX`, true proportions; the sender's window or else nearly all values."""
    rows, columns = image.pixels.shape
    step = max(1, max(rows, columns) // (2 * _SIZE_PX))
    pixels = image.pixels[::step, ::step].astype(np.float32)
    low, high = window_of(image)
    grey = np.clip((pixels - low) / max(high - low, 1.0) * 255, 0, 255).astype(np.uint8)
    row_mm, column_mm = image.spacing_mm or (1.0, 1.0)
    height, width = rows * row_mm, columns * column_mm
    scale = _SIZE_PX / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BOX))


def _overlay(
    grey: NDArray[np.uint8], image: Radiograph, statement: Classification, number: int
) -> Image.Image:
    assert statement.saliency is not None
    height, width = grey.shape
    greatest = max(float(statement.saliency.max()), 1e-6)
    coarse = Image.fromarray(np.clip(statement.saliency / greatest, 0, 1).astype(np.float32))
    heat = np.asarray(coarse.resize((width, height), Image.Resampling.BILINEAR))
    share = np.clip((heat - _HEAT_FROM) / (1 - _HEAT_FROM), 0, 1)[..., None] * _HEAT_SHARE_MAX
    mixed = grey[..., None] * (1 - share) + _HEAT * share
    picture = Image.fromarray(mixed.astype(np.uint8), "RGB")
    if statement.region_px is not None:
        rows, columns = image.pixels.shape
        left, top, right, bottom = statement.region_px
        box = (left * width / columns, top * height / rows, right * width / columns, bottom * height / rows)
        draw = ImageDraw.Draw(picture)
        draw.rectangle(box, outline=_MARK, width=2)
        at = min(box[2] + 4, width - 22.0), max(box[1] - 4, 0.0)
        font = ImageFont.load_default(24)
        draw.text(at, str(number), fill=_MARK, font=font, stroke_width=2, stroke_fill=(0, 0, 0))
    return picture


def _key_image(picture: Image.Image, number: int, kind: str) -> KeyImage:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    name = f"radiograph-{number}-{kind}.png" if number else "radiograph.png"
    caption = f"Finding {number}, {kind}" if number else "The radiograph as it was read"
    return KeyImage(name, buffer.getvalue(), caption, number, kind, picture.width, picture.height)
