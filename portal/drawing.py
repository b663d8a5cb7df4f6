"""The parameters of pictures (PS3.18 section 8.3.5): window, viewport, quality."""

from __future__ import annotations

import math
from collections.abc import Mapping

from dicom_gateway.web_decode import Drawing
from portal.errors import QueryNotUnderstood

_SIDE_MAX = 4096
_THUMBNAIL = (128, 128)
_WINDOW_MAX = 1e7
_FUNCTIONS = ("linear", "linear-exact", "sigmoid")


def drawing_of(parameters: Mapping[str, str], media_type: str, *, is_small: bool) -> Drawing:
    """Raises `QueryNotUnderstood`."""
    viewport = _viewport(parameters.get("viewport"))
    if is_small:
        viewport = tuple(map(min, viewport, (512, 512))) if viewport else _THUMBNAIL  # type: ignore[assignment]
    return Drawing(
        media_type, _window(parameters.get("window")), viewport, _quality(parameters.get("quality"))
    )


def _window(text: str | None) -> tuple[float, float, str] | None:
    if text is None:
        return None
    parts = text[:100].lower().split(",")
    function = parts[2] if len(parts) == 3 else "linear"
    try:
        center, width = float(parts[0]), float(parts[1])
    except (IndexError, ValueError):
        center = width = math.nan
    # not <=: also for what is no number
    is_sound = (
        abs(center) <= _WINDOW_MAX and 0 < width <= _WINDOW_MAX and (width >= 1 or function != "linear")
    )
    if len(parts) > 3 or function not in _FUNCTIONS or not is_sound:
        raise QueryNotUnderstood("window is center,width,function with linear, linear-exact or sigmoid")
    return center, width, function


def _viewport(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    sides = text[:100].split(",")
    if len(sides) != 2 or not all(side.isascii() and side.isdecimal() for side in sides):
        raise QueryNotUnderstood("viewport is width,height; parts of an image are not cut out")
    width, height = (int(side[:9]) for side in sides)
    if not (1 <= width <= _SIDE_MAX and 1 <= height <= _SIDE_MAX):
        raise QueryNotUnderstood(f"the sides of a viewport are from 1 to {_SIDE_MAX}")
    return width, height


def _quality(text: str | None) -> int:
    if text is None:
        return 90
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:4]) <= 100):
        raise QueryNotUnderstood("quality is a number from 1 to 100")
    return int(text)
