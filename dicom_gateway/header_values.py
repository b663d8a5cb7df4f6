"""Plain values out of a data set that came from outside. No function here raises on what it finds."""

from __future__ import annotations

import math
import re
from collections.abc import MutableSequence
from typing import Any

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

# Longer than any text value the standard allows in the attributes we read (LO 64, PN 5 x 64).
TEXT_LENGTH_MAX = 400
# Controls end lines, start terminal escapes and end C strings; bidirectional overrides and isolates and
# the zero-width space make a name read as another one. Letters and joiners of every script pass.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b\u2028\u2029\u202a-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff]"
)
# pydicom 3.0.2 leaves some designations of ISO 2022 in the text it decodes; they are not part of it.
_ESCAPE_SEQUENCE = re.compile("\x1b[\x20-\x2f]*[\x30-\x7e]")
_INTEGER_MAX = 2**31 - 1


def raw_value(dataset: Dataset, tag: int) -> Any:
    """The element's value as the parser gives it; None when absent, empty or not convertible."""
    try:
        element = dataset.get(tag)
        return None if element is None else element.value
    except MemoryError:
        raise
    except Exception:  # conversion of a hostile value raises whatever it likes
        return None


def text(dataset: Dataset, tag: int) -> str:
    """Decoded text; bytes outside the character set become U+FFFD, as do control characters."""
    value = raw_value(dataset, tag)
    if value is None:
        return ""
    try:
        joined = "\\".join(str(item) for item in value) if _is_list(value) else str(value)
    except MemoryError:
        raise
    except Exception:  # a person name decodes only when it is shown
        return "\ufffd"
    return clean(joined)


def clean(value: str) -> str:
    """One line of harmless text, at most `TEXT_LENGTH_MAX` characters."""
    plain = _ESCAPE_SEQUENCE.sub("", value)
    shortened = plain if len(plain) <= TEXT_LENGTH_MAX else plain[: TEXT_LENGTH_MAX - 1] + "…"
    return _UNSAFE.sub("\ufffd", shortened).strip()


def texts(dataset: Dataset, tag: int) -> tuple[str, ...]:
    """The values of a multi-valued text element."""
    value = raw_value(dataset, tag)
    if value is None or value == "":
        return ()
    return tuple(clean(str(item)) for item in (value if _is_list(value) else (value,)))


def uid(dataset: Dataset, tag: int) -> str:
    """A UID's characters as they stand, trailing padding aside; not checked."""
    value = raw_value(dataset, tag)
    return "" if value is None else str(value)


def numbers(dataset: Dataset, tag: int, count: int) -> tuple[float, ...] | None:
    """Exactly `count` finite numbers, else None."""
    value: Any = _decimal_strings(dataset, tag) or raw_value(dataset, tag)
    if value is None or value == "":
        return None
    try:
        found = tuple(float(item) for item in (value if _is_list(value) else (value,)))
    except (TypeError, ValueError, OverflowError):
        return None
    return found if len(found) == count and all(map(math.isfinite, found)) else None


def _decimal_strings(dataset: Dataset, tag: int) -> list[str] | None:
    """The values of a DS that the parser has not converted yet, None for anything else.

    A slice has twenty of them, and the parser keeps the text of each beside its number: that is most of the time that
    the headers of a series take.
    """
    element = dataset.get_item(tag) if tag in dataset else None
    if not isinstance(element, RawDataElement) or element.VR != "DS" or not element.value:
        return None
    value: bytes = element.value
    return value.decode("latin-1").strip().rstrip(" \x00").split("\\")


def number(dataset: Dataset, tag: int) -> float | None:
    found = numbers(dataset, tag, 1)
    return found[0] if found else None


def integer(dataset: Dataset, tag: int) -> int | None:
    """A whole number of at most 31 bits, else None."""
    found = number(dataset, tag)
    return int(found) if found is not None and found.is_integer() and abs(found) <= _INTEGER_MAX else None


def items(dataset: Dataset | None, tag: int) -> list[Dataset]:
    """The items of a sequence; an element that is no sequence has none."""
    value = raw_value(dataset, tag) if dataset is not None else None
    if value is None or not _is_list(value):
        return []
    try:
        return [item for item in value if isinstance(item, Dataset)]
    except MemoryError:
        raise
    except Exception:  # items of a sequence of defined length are parsed only now
        return []


def first_item(dataset: Dataset | None, tag: int) -> Dataset | None:
    return next(iter(items(dataset, tag)), None)


def _is_list(value: Any) -> bool:
    return isinstance(value, MutableSequence | tuple)
