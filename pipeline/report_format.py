"""Values as a report prints them: names, dates, times, numbers. What is absent is a dash, never 0."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import datetime

TEXT_MAX = 200
NOTE_MAX = 1000
"""Characters of a text, and of a sentence, from outside that are shown."""

ABSENT = "\N{EM DASH}"
_MINUS = "\N{MINUS SIGN}"
_NARROW = "\u202f"


def plain(value: str, most: int = TEXT_MAX) -> str:
    """Text from outside without control characters and without marks that turn the direction of what follows; what is
    longer than a reader could use is cut."""
    kept = "".join(
        " " if one in "\t\r\n" else one for one in value[: 4 * most] if one in "\t\r\n" or not _is_unseen(one)
    )
    return kept if len(kept) <= most else kept[: most - 1] + "…"


def note(value: str) -> str:
    """A sentence of a model or a decoder."""
    return plain(value, NOTE_MAX)


def _is_unseen(character: str) -> bool:
    """Controls, and embeddings, overrides and isolates of direction (Unicode Standard Annex 9)."""
    return (
        unicodedata.category(character) == "Cc"
        or character in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    )


def person_name(value: str) -> str:
    """PN text for the eye (PS3.5 section 6.2.1): "Family, Given", ideographic group first if there is one."""
    value = plain(value)
    groups = [_group(group) for group in value.split("=")[:2]]
    alphabetic = groups[0]
    ideographic = groups[1] if len(groups) > 1 else ""
    if ideographic and alphabetic:
        return f"{ideographic} ({alphabetic})"
    return ideographic or alphabetic or ABSENT


def _group(group: str) -> str:
    parts = [part.strip() for part in group.split("^")]
    family, given = parts[0], " ".join(part for part in parts[1:3] if part)
    if not family or not given:
        return family or given
    return f"{family}{given}" if _is_east_asian(given) else f"{family}, {given}"


def _is_east_asian(text: str) -> bool:
    """Whether names are written without a space between family and given name."""
    return all(unicodedata.east_asian_width(one) == "W" for one in text if not one.isspace())


def dicom_date(value: str) -> str:
    """DA text with hyphens; anything else as it is."""
    text = plain(value).strip()
    if len(text) == 8 and text.isdecimal():
        return f"{text[:4]}-{text[4:6]}-{text[6:]}"
    return text or ABSENT


def dicom_time(value: str) -> str:
    """Hours and minutes of TM text; nothing when there is none."""
    text = value.strip()
    return f"{text[:2]}:{text[2:4]}" if len(text) >= 4 and text[:4].isdecimal() else ""


def dicom_age(value: str, word: Callable[[str], str]) -> str:
    """AS text with its unit in words (PS3.5 section 6.2): 061Y gives 61 years."""
    text = plain(value).strip()
    unit = {"Y": "years", "M": "months", "W": "weeks", "D": "days"}.get(text[3:])
    if unit is None or not text[:3].isdecimal():
        return text or ABSENT
    return f"{int(text[:3])} {word(unit)}"


def moment(value: datetime) -> str:
    """A time with its zone as offset from UTC."""
    offset = value.strftime("%z")
    return f"{value:%Y-%m-%d %H:%M:%S} UTC{offset[:3]}:{offset[3:5]}"


def millimetres(value: float | None) -> str:
    """One decimal, as measured diameters are reported (Lung-RADS v2022)."""
    return ABSENT if value is None else f"{value:.1f}".replace("-", _MINUS)


def whole(value: float | None) -> str:
    """Whole numbers with a narrow no-break space at thousands."""
    return ABSENT if value is None else f"{value:,.0f}".replace(",", "\u202f").replace("-", _MINUS)


def score(value: float) -> str:
    """A score in [0, 1] with two decimals; what is below 1 never rounds up to it."""
    return f"{min(value, 0.99):.2f}" if value < 1 else "1.00"


def percent(share: float) -> str:
    """A share of 0 to 1 in whole percent; what is not all never rounds up to it."""
    return f"{min(round(100 * share), 99) if share < 1 else 100}{_NARROW}%"


def or_dash(value: object) -> str:
    """The text of a value; a dash for None and for nothing but spaces."""
    return ABSENT if value is None else plain(str(value)).strip() or ABSENT


def change(percent: float) -> str:
    """A change in whole percent with its sign; what doubles and more is told as a factor."""
    if percent >= 300:
        return f"×{1 + percent / 100:.1f}"
    return f"{percent:+.0f}\u202f%".replace("-", _MINUS)


def day_span(interval: tuple[float, float | None]) -> str:
    """An interval of days; one without an end is told by its beginning."""
    low, high = interval
    return f"≥{_NARROW}{whole(low)}" if high is None else f"{whole(low)}–{whole(high)}"
