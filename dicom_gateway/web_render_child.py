"""Draw one frame as a PNG or JPEG in the child of `web_decode` (PS3.18 section 10.4.1.1.5)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dicom_gateway import frame_headers as tags
from dicom_gateway import header_values as values
from dicom_gateway.decode_errors import DecodeError, PixelFormatNotSupported
from dicom_gateway.frame_headers import FrameHeader, read_frames
from dicom_gateway.frame_table import frame_table_of
from dicom_gateway.part10 import FileUnreadable, Header, read_header
from dicom_gateway.web_pixels import ImagePixels, image_pixels, stored_samples

_WHITE = 255.0


def run(arguments: dict[str, Any]) -> dict[str, Any]:
    """arguments: path, out_path, frame, media_type, window (center, width, function) or None, viewport (width,
    height) or None, quality. Answer: {} or {"problem": reason}."""
    try:
        picture = _picture(Path(arguments["path"]), arguments["frame"], arguments["window"])
    except (DecodeError, FileUnreadable) as error:
        return {"problem": str(error)}
    if arguments["viewport"] is not None:
        picture.thumbnail(tuple(arguments["viewport"]))
    kind = "PNG" if arguments["media_type"] == "image/png" else "JPEG"
    picture.save(arguments["out_path"], kind, quality=arguments["quality"])
    return {}


def _picture(path: Path, number: int, window: list[Any] | None) -> Image.Image:
    header = read_header(path)
    table = frame_table_of(path, header)
    image = image_pixels(header, table)
    with path.open("rb") as file:
        samples = stored_samples(table.read(file, number), image, table, number)
    if image.samples == 3 and image.bits == 8:
        mode = (
            "YCbCr"
            if image.photometric_interpretation == "YBR_FULL" and table.encapsulated is None
            else "RGB"
        )
        return Image.frombytes(mode, samples.shape[1::-1], samples.tobytes()).convert("RGB")
    if not image.is_grey:
        raise PixelFormatNotSupported("pixels of this colour model are not drawn")
    return Image.fromarray(_grey(header, image, samples, number, window))


def _grey(
    header: Header, image: ImagePixels, samples: NDArray[Any], number: int, window: list[Any] | None
) -> NDArray[np.uint8]:
    frame = next(iter(read_frames(header.dataset)[number - 1 : number]), None)
    slope, intercept = _rescale(header, frame)
    shown = samples.astype(np.float64) * slope + intercept
    center, width, function = window or _window_of(header, shown)
    grey = _voi(shown, center, width, function)
    if image.photometric_interpretation == "MONOCHROME1":
        grey = 1.0 - grey
    return np.rint(np.nan_to_num(grey) * _WHITE).astype(np.uint8)


def _rescale(header: Header, frame: FrameHeader | None) -> tuple[float, float]:
    slope, intercept = (frame.slope, frame.intercept) if frame else (None, None)
    if slope is None:
        slope = values.number(header.dataset, tags.RESCALE_SLOPE)
        intercept = values.number(header.dataset, tags.RESCALE_INTERCEPT)
    return slope or 1.0, intercept or 0.0


def _window_of(header: Header, shown: NDArray[np.float64]) -> tuple[float, float, str]:
    """The first of the header, else from the darkest to the brightest value."""
    found = []
    for tag in (tags.WINDOW_CENTER, tags.WINDOW_WIDTH):
        texts = values.texts(header.dataset, tag)
        try:
            found.append(float(texts[0]) if texts else math.nan)
        except ValueError:
            found.append(math.nan)
    center, width = found
    if math.isfinite(center) and math.isfinite(width) and width >= 1:
        return center, width, "linear"
    finite = shown[np.isfinite(shown)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return (low + high) / 2, max(high - low, 1e-9), "linear-exact"


def _voi(shown: NDArray[np.float64], center: float, width: float, function: str) -> NDArray[np.float64]:
    """From 0, black, to 1, white (PS3.3 C.11.2.1.2, C.11.2.1.3)."""
    with np.errstate(over="ignore", invalid="ignore"):
        if function == "sigmoid":
            return 1.0 / (1.0 + np.exp(-4.0 * (shown - center) / width))
        if function == "linear":
            grey = (shown - (center - 0.5)) / max(width - 1.0, 1e-9) + 0.5
        else:
            grey = (shown - center) / width + 0.5
    return np.clip(grey, 0.0, 1.0)
