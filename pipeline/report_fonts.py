"""Fonts that a report needs: names of Chinese patients must not print as boxes."""

from __future__ import annotations

import shutil
import subprocess
from functools import lru_cache

from PIL import ImageFont

from pipeline.report_errors import FontMissing

INSTALL_LINE = "apt-get install fonts-wqy-microhei"


def missing_fonts() -> str | None:
    """None when a font with Chinese characters is installed, else what is wrong and the line to run."""
    if shutil.which("fc-list") is None:
        return f"no fontconfig (fc-list), so reports have no fonts; run: {INSTALL_LINE} fontconfig"
    listed = subprocess.run(["fc-list", ":lang=zh-cn", "family"], capture_output=True, text=True, check=False)
    if listed.stdout.strip():
        return None
    return f"no font with Chinese characters is installed, so reports cannot be printed; run: {INSTALL_LINE}"


def require_cjk_font() -> None:
    """Raise `FontMissing` with the line to run unless Chinese text can be printed."""
    problem = missing_fonts()
    if problem is not None:
        raise FontMissing(problem)


@lru_cache(maxsize=16)
def picture_font(size: int) -> ImageFont.FreeTypeFont:
    """The font of words burned into a picture. Raises `FontMissing`."""
    require_cjk_font()
    asked = ["fc-match", "-f", "%{file}", ":lang=zh-cn"]
    file = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    return ImageFont.truetype(file, size)
