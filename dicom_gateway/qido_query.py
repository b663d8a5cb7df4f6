"""The parameters of QIDO-RS and what they match (PS3.18 section 8.3.4, PS3.4 C.2.2.2). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword

LIMIT_DEFAULT = 100
LIMIT_MAX = 1000
OFFSET_MAX = 1_000_000
PARAMETERS_MAX = 64
VALUE_CHARACTERS_MAX = 1024
_DEPTH_MAX = 4
_TAG = re.compile(r"[0-9A-Fa-f]{8}", re.ASCII)
_DATE_TIME_VRS = frozenset({"DA", "TM", "DT"})
_NUMBER_VRS = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"})
Model = Mapping[str, Mapping[str, Any]]
Path = tuple[str, ...]


class QueryInvalid(ValueError):
    """A parameter of the query is not understood; the message says which and why."""


@dataclass(frozen=True)
class Query:
    """What is asked for.

    filters: path of tags → value. includes: further tags to return; None for all. is_fuzzy: asked for, not done.
    """

    filters: dict[Path, str] = field(default_factory=dict)
    includes: frozenset[str] | None = frozenset()
    limit: int = LIMIT_DEFAULT
    offset: int = 0
    is_fuzzy: bool = False

    def value(self, tag: str) -> str:
        """Of a filter on the top level; empty where there is none."""
        return self.filters.get((tag,), "")

    def matches(self, model: Model) -> bool:
        return all(_matches(model, path, value) for path, value in self.filters.items())

    def shown(self, model: Model, returned: Iterable[str]) -> dict[str, Any]:
        """What is returned of a match: `returned`, what was asked for, and what was matched on."""
        if self.includes is None:
            return dict(model)
        tags = {*returned, *self.includes, *(path[0] for path in self.filters)}
        return {tag: model[tag] for tag in sorted(tags) if tag in model}


def parse_query(parameters: Sequence[tuple[str, str]]) -> Query:
    """Raises `QueryInvalid`."""
    if len(parameters) > PARAMETERS_MAX:
        raise QueryInvalid(f"more than {PARAMETERS_MAX} parameters")
    filters: dict[Path, str] = {}
    includes: set[str] = set()
    numbers = {"limit": LIMIT_DEFAULT, "offset": 0}
    includes_all = is_fuzzy = False
    for name, value in parameters:
        if len(value) > VALUE_CHARACTERS_MAX or "\0" in value:
            raise QueryInvalid("a value is too long or holds a NUL")
        if name == "includefield":
            names = [one.strip() for one in value.split(",") if one.strip()]
            includes_all |= "all" in names
            includes |= {_path(one)[0] for one in names if one != "all"}
        elif name in numbers:
            numbers[name] = _number(name, value, LIMIT_MAX if name == "limit" else OFFSET_MAX)
        elif name == "fuzzymatching":
            if value not in ("true", "false"):
                raise QueryInvalid("fuzzymatching is true or false")
            is_fuzzy = value == "true"
        elif name != "accept":
            path = _path(name)
            if filters.setdefault(path, value) != value:
                raise QueryInvalid(f"{name[:64]!r} is given twice")
    return Query(
        filters, None if includes_all else frozenset(includes), numbers["limit"], numbers["offset"], is_fuzzy
    )


def _number(name: str, value: str, most: int) -> int:
    if not value.isascii() or not value.isdecimal() or len(value) > 9:
        raise QueryInvalid(f"{name} is a whole number from 0 on")
    if name == "offset" and int(value) > most:
        raise QueryInvalid(f"offset is at most {most}")
    return min(int(value), most)


def _path(name: str) -> Path:
    parts = name.split(".")
    if len(parts) > _DEPTH_MAX:
        raise QueryInvalid("an attribute is nested too deeply")
    return tuple(map(_tag, parts))


def _tag(part: str) -> str:
    if _TAG.fullmatch(part):
        return part.upper()
    number = tag_for_keyword(part) if part.isascii() and part.isalnum() else None
    if number is None:
        raise QueryInvalid(f"{part[:64]!r} is neither a parameter nor an attribute")
    return f"{number:08X}"


def _matches(model: Model, path: Path, wanted: str) -> bool:
    if not wanted or set(wanted) == {"*"}:
        return True
    element = model.get(path[0])
    if len(path) > 1:
        items = (element or {}).get("Value") or []
        return any(isinstance(item, dict) and _matches(item, path[1:], wanted) for item in items)
    vr = (element or {}).get("vr") or _vr(path[0])
    found = (element or {}).get("Value") or []
    return any(_value_matches(vr, value, wanted) for value in found)


def _vr(tag: str) -> str:
    try:
        return str(dictionary_VR(int(tag, 16)))
    except KeyError:
        return "LO"


def _value_matches(vr: str, value: Any, wanted: str) -> bool:
    if vr == "UI":
        return str(value) in re.split(r"[,\\]", wanted)
    if vr in _DATE_TIME_VRS:
        return _in_range(str(value), wanted)
    if vr in _NUMBER_VRS:
        try:
            return float(value) == float(wanted)
        except ValueError:
            return False
    if vr == "PN" and isinstance(value, dict):
        groups = [str(value.get(name, "")) for name in ("Alphabetic", "Ideographic", "Phonetic")]
        texts = [*groups, "=".join(groups).rstrip("=")]
        return any(wildcard_matches(text.casefold(), wanted.casefold()) for text in texts if text)
    return any(wildcard_matches(str(value), one) for one in wanted.split("\\"))


def date_range(wanted: str) -> tuple[str, str]:
    """(first, last) of a date or time range; an open end is empty, one date is both ends."""
    first, dash, last = wanted.partition("-")
    return (first.strip(), last.strip()) if dash else (wanted.strip(), wanted.strip())


def _in_range(value: str, wanted: str) -> bool:
    """Dates and times compare as text; an end that is less exact stands for all of its time."""
    first, last = date_range(wanted)
    return (not first or value >= first) and (not last or value[: len(last)] <= last)


def wildcard_matches(text: str, pattern: str) -> bool:
    """`*` for any characters, `?` for one. Takes time as the product of the lengths at most."""
    at = star = mark = 0
    has_star, position = False, 0
    while position < len(text):
        if at < len(pattern) and pattern[at] in ("?", text[position]) and pattern[at] != "*":
            at, position = at + 1, position + 1
        elif at < len(pattern) and pattern[at] == "*":
            has_star, star, mark = True, at, position
            at += 1
        elif has_star:
            mark += 1
            at, position = star + 1, mark
        else:
            return False
    return not pattern[at:].strip("*")
