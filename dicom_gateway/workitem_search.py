"""Which workitems a search asks for (PS3.18 section 11.9): matched in memory, after the database has narrowed them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dicom_gateway.dicom_json import DataSet, items, values
from dicom_gateway.workitem_errors import WorkitemInvalid

KEYS_MAX = 20
STARS_MAX = 4
LIMIT_MAX = 1_000
_ALWAYS = frozenset({
    "00080016", "00080018", "00100010", "00100020", "00100030", "00100040", "00404005", "00404010", "00404018",
    "00404021", "00404025", "00404041", "0040A370", "00741000", "00741002", "00741200", "00741202", "00741204",
})  # fmt: skip
_RANGES = frozenset({"DA", "TM", "DT"})


@dataclass(frozen=True)
class Search:
    """keys: (path of tags, what it must match). include: tags that are wanted beside the usual; None = all."""

    keys: tuple[tuple[tuple[str, ...], str], ...] = ()
    include: frozenset[str] | None = frozenset()
    limit: int = LIMIT_MAX
    offset: int = 0

    def value_of(self, tag: str) -> str:
        """What a single attribute of the workitem itself must be, "" where it does not matter."""
        return next((wanted for path, wanted in self.keys if path == (tag,)), "")

    def matches(self, data_set: DataSet) -> bool:
        return all(_matches(data_set, path, wanted) for path, wanted in self.keys)

    def returned(self, data_set: DataSet) -> dict[str, Mapping[str, Any]]:
        """The attributes that an answer shows. The Transaction UID is the claimant's alone."""
        asked = {path[0] for path, _ in self.keys}
        return {
            tag: one
            for tag, one in data_set.items()
            if tag != "00081195" and (self.include is None or tag in _ALWAYS | self.include | asked)
        }


def read_search(parameters: Sequence[tuple[str, str]]) -> Search:
    """From the query of a URL. Raises `WorkitemInvalid` for what is no attribute."""
    keys: list[tuple[tuple[str, ...], str]] = []
    include: set[str] = set()
    numbers = {"limit": LIMIT_MAX, "offset": 0}
    is_everything = False
    for name, value in parameters:
        if name in numbers:
            if not value.isdecimal() or len(value) > 9:
                raise WorkitemInvalid(f"{name} is a number")
            numbers[name] = int(value)
        elif name == "includefield":
            is_everything |= value == "all"
            include |= {_path(one)[0] for one in value.split(",") if one and one != "all"}
        elif name != "fuzzymatching" and value:
            if value.count("*") > STARS_MAX:
                raise WorkitemInvalid(f"a value has at most {STARS_MAX} wildcards *")
            keys.append((_path(name), value))
    if len(keys) > KEYS_MAX:
        raise WorkitemInvalid(f"at most {KEYS_MAX} attributes are matched")
    limit = min(numbers["limit"], LIMIT_MAX)
    return Search(tuple(keys), None if is_everything else frozenset(include), limit, numbers["offset"])


def _path(name: str) -> tuple[str, ...]:
    from pydicom.datadict import tag_for_keyword  # a start without searches does without pydicom

    tags = []
    for part in name.split(".")[:4]:
        tag = tag_for_keyword(part) if not re.fullmatch(r"[0-9A-Fa-f]{8}", part, re.ASCII) else int(part, 16)
        if tag is None:
            raise WorkitemInvalid("an attribute is named by its keyword or its tag")
        tags.append(f"{tag:08X}")
    return tuple(tags)


def _matches(data_set: DataSet, path: tuple[str, ...], wanted: str) -> bool:
    if len(path) > 1:
        return any(_matches(item, path[1:], wanted) for item in items(data_set, path[0]))
    return any(_value_matches(path[0], value, wanted) for value in _texts(values(data_set, path[0])))


def _texts(found: Iterable[Any]) -> Iterable[str]:
    for value in found:
        yield from map(str, value.values()) if isinstance(value, Mapping) else [str(value)]


def _value_matches(tag: str, value: str, wanted: str) -> bool:
    """Range, list of UIDs, wildcard or single value (PS3.4 section C.2.2.2)."""
    from pydicom.datadict import dictionary_VR

    try:
        vr = dictionary_VR(int(tag, 16))
    except KeyError:
        vr = "LO"
    if vr in _RANGES and "-" in wanted[1:]:
        first, _, last = wanted.partition("-")
        # A value to the minute lies before the end that is given to the minute.
        return (not first or value >= first) and (not last or value[: len(last)] <= last)
    if vr == "UI":
        return value in re.split(r"[\\,]", wanted)
    if vr == "PN":
        value, wanted = value.upper(), wanted.upper()
    if "*" in wanted or "?" in wanted:
        pattern = "".join(
            {"*": ".*", "?": "."}.get(one, re.escape(one)) for one in re.sub(r"\*+", "*", wanted)
        )
        return re.fullmatch(pattern, value, re.DOTALL) is not None
    return value == wanted
