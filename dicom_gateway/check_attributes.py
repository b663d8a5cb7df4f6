"""The gate: what the standard demands of each kind of object is there (PS3.3: types 1 and 2 of mandatory modules)."""

from __future__ import annotations

import json
import pkgutil
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

from pydicom.dataset import Dataset

from dicom_gateway.check_basis import CheckedObject, Path

SOP_CLASS_OF = {
    "SR": ("1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.88.11"),
    "SEG": ("1.2.840.10008.5.1.4.1.1.66.4",),
    "PM": ("1.2.840.10008.5.1.4.1.1.30",),
    "PDF": ("1.2.840.10008.5.1.4.1.1.104.1",),
    "SC": ("1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.7.4"),
    "KEYS": ("1.2.840.10008.5.1.4.1.1.88.59",),
    "KOS": ("1.2.840.10008.5.1.4.1.1.88.59",),
    "SR2D": ("1.2.840.10008.5.1.4.1.1.88.33",),
    "TEXT": ("1.2.840.10008.5.1.4.1.1.88.11",),
    "GSPS": ("1.2.840.10008.5.1.4.1.1.11.1",),
}
"""Kind → the SOP classes that an object of it may have."""

_VALUE_OF = {
    "TEXT": "TextValue", "NUM": "MeasuredValueSequence", "CODE": "ConceptCodeSequence", "UIDREF": "UID",
    "IMAGE": "ReferencedSOPSequence", "COMPOSITE": "ReferencedSOPSequence", "SCOORD": "GraphicData",
    "SCOORD3D": "GraphicData", "PNAME": "PersonName", "DATE": "Date", "TIME": "Time", "DATETIME": "DateTime",
}  # fmt: skip
# Checked by other means: content trees by the walk below, functional groups by their geometry.
_OTHERWISE = frozenset({"sr-document-content"})
_GROUPS = (("SharedFunctionalGroupsSequence",), ("PerFrameFunctionalGroupsSequence",))
_NAMELESS = ("IMAGE", "COMPOSITE", "SCOORD", "SCOORD3D", "CONTAINER")


def attribute_problems(one: CheckedObject) -> Iterator[str]:
    """What is missing in one object, by its SOP class."""
    sop_class = str(one.dataset.get("SOPClassUID") or "")
    if sop_class not in SOP_CLASS_OF.get(one.kind, ()):
        yield "its SOP class is not that of its kind"
        return
    demands = _demands(sop_class)
    missing: dict[str, None] = {}
    for path, item in one.content.items:
        for keyword, has_value in demands.get(path, ()):
            if keyword not in item or (has_value and _is_empty(item, keyword)):
                missing[keyword] = None
    for keyword in missing:
        yield f"{keyword} is missing"
    yield from dict.fromkeys(_content_problems(one))


def _is_empty(item: Dataset, keyword: str) -> bool:
    value = item[keyword].value
    return value is None or (hasattr(value, "__len__") and len(value) == 0)


@cache
def _demands(sop_class: str) -> dict[Path, list[tuple[str, bool]]]:
    """Path → (keyword, whether it must have a value), of the mandatory modules of a SOP class.

    The tables are those that highdicom brings, made from PS3.3. What a sequence holds counts only where it is there.
    """
    modules = _table("module_attribute_map")
    iod = _table("iod_module_map")[_table("sop_class_iod_map")[sop_class]]
    found: dict[Path, list[tuple[str, bool]]] = defaultdict(list)
    for module in iod:
        if module["usage"] != "M" or module["key"] in _OTHERWISE:
            continue
        for attribute in modules[module["key"]]:
            path = tuple(attribute["path"])
            if attribute["type"] in ("1", "2") and path not in _GROUPS:
                found[path].append((attribute["keyword"], attribute["type"] == "1"))
    return dict(found)


@cache
def _table(name: str) -> dict[str, Any]:
    data = pkgutil.get_data("highdicom", f"_standard/{name}.json")
    assert data is not None
    table: dict[str, Any] = json.loads(data)
    return table


def _content_problems(one: CheckedObject) -> Iterator[str]:
    """A content tree: each item has its value, its name and its relationship (PS3.3 C.17.3)."""
    for path, item in one.content_items():
        kind = str(item.ValueType)
        value = _VALUE_OF.get(kind)
        is_qualified_empty = kind == "NUM" and "NumericValueQualifierCodeSequence" in item
        if value is not None and (value not in item or _is_empty(item, value)) and not is_qualified_empty:
            yield f"a content item of type {kind} has no value"
        if kind not in _NAMELESS and not item.get("ConceptNameCodeSequence"):
            yield f"a content item of type {kind} has no concept name"
        if kind == "CONTAINER" and item.get("ContinuityOfContent") not in ("SEPARATE", "CONTINUOUS"):
            yield "a container does not say whether its content is continuous"
        if path and not item.get("RelationshipType"):
            yield f"a content item of type {kind} has no relationship to its parent"
