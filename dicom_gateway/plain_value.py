"""Values of DICOM elements as text that can be compared, whatever character set they were written in."""

from __future__ import annotations

import re
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

_ESCAPE_SEQUENCE = re.compile(r"\x1b[\x20-\x2f]*[\x30-\x7e]")


def plain(value: Any) -> Any:
    """The value without what says nothing; nothing is "", an item is a tuple of its tags with their values."""
    if value is None:
        return ""
    if isinstance(value, Dataset):
        pairs = ((element.tag, plain(element.value)) for element in value)
        return tuple((tag, text) for tag, text in pairs if text and tag != 0x00080005)
    if isinstance(value, Sequence | list | tuple) or type(value).__name__ == "MultiValue":
        return tuple(plain(one) for one in value) or ""
    return _ESCAPE_SEQUENCE.sub("", str(value)).rstrip(" \0^=")
