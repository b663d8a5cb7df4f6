"""Fonts that a report needs: names of Chinese patients must not print as boxes."""

from __future__ import annotations

import shutil
import subprocess

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
