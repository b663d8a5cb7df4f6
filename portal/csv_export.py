"""CSV that a spreadsheet opens as data, never as formulas."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

# What Excel, LibreOffice and Sheets take for the start of a formula, and the full-width forms that
# East Asian versions fold into them.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def guarded(value: object) -> str:
    """The cell's text; what could start a formula gets a leading apostrophe. Plain numbers stay numbers."""
    text = "" if value is None else str(value)
    if text.lstrip(" \u00a0\u3000\ufeff").startswith(_FORMULA_STARTS) and not _is_number(text):
        return "'" + text
    return text


def _is_number(text: str) -> bool:
    digits = text[1:] if text[:1] in {"-", "+"} else text
    return digits.isascii() and digits.replace(".", "", 1).isdigit()


def csv_text(header: Sequence[str] | None, rows: Iterable[Sequence[object]]) -> str:
    """RFC 4180 text, every cell quoted. With the header comes the byte order mark that makes Excel read
    UTF-8; without one it is the next part of a longer text."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    if header is not None:
        out.write("\ufeff")
        writer.writerow(header)
    writer.writerows([guarded(value) for value in row] for row in rows)
    return out.getvalue()
