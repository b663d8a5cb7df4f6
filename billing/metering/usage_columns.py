"""A batch of usage events read in columns: events of one shape are checked together, by a few passes in C.

What is said of an event stands in `usage_json` and `usage`; here is only a faster way to the same. Where anything of
a shape is unusual, let alone wrong, its events are read one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from itertools import repeat
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from billing.errors import InvalidUsageEvent
from billing.metering.usage import (
    DIMENSIONS,
    KEY,
    METER_OF_KIND,
    PAYLOAD,
    PURPOSES,
    TEXT_LENGTH_MAX,
    UID_DOTS_MIN,
    Kind,
    UsageEvent,
    kind_said,
    plain,
    require_meter,
    require_quantity,
    require_text,
)
from billing.metering.usage_json import (
    ENTRIES_MAX,
    FIELDS,
    INTEGER_MAX,
    kind_of_meter,
    own_case,
    read_item,
    read_quantity,
)
from billing.metering.voids import VoidRequest

Read = UsageEvent | VoidRequest | InvalidUsageEvent
Column = Sequence[Any]
Shape = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
"""Names of the fields, of the dimensions and of the evidence, in the order in which they came."""
_NEEDED = frozenset({"event_id", "product", "occurred_at"})
_PLAIN = FIELDS - {"amount_minor", "amount_currency"}
_PLAIN_DIMENSIONS = DIMENSIONS - {"verdict"}
_PLAIN_KINDS = frozenset(Kind) - {Kind.VOID, Kind.OUTCOME}
_TEXTS = frozenset({"event_id", "kind", "product", "meter", "study_ref", "case_key"})
_NONE: dict[str, Any] = {}


class _Unusual(Exception):
    """Something that is not plainly right; the reading one by one says what it is."""


def read_batch(items: Sequence[object], tenant: str, source: str) -> list[Read]:
    """What `read_item` says of each item, in their order; an exception for one that is refused."""
    read: list[Read | None] = [None] * len(items)
    for shape, indexes in _by_shape(items).items():
        try:
            events = _read_alike(shape, [items[index] for index in indexes], tenant, source)
        except (_Unusual, InvalidUsageEvent):
            continue
        for index, event in zip(indexes, events, strict=True):
            read[index] = event
    return [one or _read_one(item, tenant, source) for one, item in zip(read, items, strict=True)]


def _read_one(item: object, tenant: str, source: str) -> Read:
    try:
        return read_item(item, tenant, source)
    except InvalidUsageEvent as problem:
        return problem


def _by_shape(items: Sequence[object]) -> Mapping[Shape, list[int]]:
    found: dict[Shape, list[int]] = {}
    for index, item in enumerate(items):
        if type(item) is dict:
            dimensions, evidence = item.get("dimensions", _NONE), item.get("evidence", _NONE)
            if type(dimensions) is dict and type(evidence) is dict:
                shape = (tuple(item), tuple(dimensions), tuple(evidence))
                found.setdefault(shape, []).append(index)
    return found


def _read_alike(shape: Shape, items: Sequence[Any], tenant: str, source: str) -> list[UsageEvent]:
    names, dimension_names, evidence_names = shape
    if not _NEEDED <= set(names) <= _PLAIN:
        raise _Unusual
    for name, text in (("tenant", tenant), ("source", source)):
        require_text(name, text)
    said, count = _columns(names, items), len(items)
    for name in _TEXTS & set(names):
        _require_plain(said[name])
    dimensions = _entries(dimension_names, said.get("dimensions", ()))
    evidence = _entries(evidence_names, said.get("evidence", ()))
    _require_dimensions(dimensions)
    event_ids, meters = said["event_id"], said.get("meter", ("",) * count)
    kinds = said.get("kind") or list(map(kind_of_meter, meters))
    meters = _meters(kinds, meters, has_case="case_key" in said)
    quantities, texts = _quantities(said.get("quantity", (1,) * count))
    instants = _instants(said["occurred_at"])
    cases = said.get("case_key") or [own_case(source, event_id) for event_id in event_ids]
    study_refs = said.get("study_ref") or ("none",) * count
    occurred = list(map(datetime.isoformat, instants))
    dimensions_json, evidence_json = (_as_json(one) or ["{}"] * count for one in (dimensions, evidence))
    payloads = zip(
        repeat(""),
        map(quoted, cases),
        dimensions_json,
        map(quoted, event_ids),
        evidence_json,
        _kinds_said(kinds, meters),
        occurred,
        map(quoted, said["product"]),
        texts,
        repeat(quoted(source)),
        map(quoted, study_refs),
        repeat(quoted(tenant)),
        strict=False,
    )
    columns: dict[str, Iterable[Any]] = {
        "tenant": repeat(tenant),
        "source": repeat(source),
        "event_id": event_ids,
        "kind": kinds,
        "product": said["product"],
        "quantity": quantities,
        "occurred_at": instants,
        "study_ref": study_refs,
        "case_key": cases,
        "dimensions": said.get("dimensions") or [{} for _ in items],
        "evidence": said.get("evidence") or [{} for _ in items],
        "amount_minor": repeat(None),
        "amount_currency": repeat(None),
        "meter": meters,
        "quantity_text": texts,
        "occurred_text": occurred,
        "dimensions_json": dimensions_json,
        "evidence_json": evidence_json,
        "payload_hash": [sha256((PAYLOAD % one).encode()).digest() for one in payloads],
    }
    return [
        UsageEvent.of_checked(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=False)
    ]


def _columns(names: Iterable[str], rows: Iterable[dict[str, Any]]) -> dict[str, Column]:
    """The values by name; every row has these names in this order."""
    return dict(zip(names, zip(*map(dict.values, rows), strict=True), strict=False))


def _entries(names: tuple[str, ...], rows: Column) -> dict[str, Column]:
    """Dimensions or evidence in columns; texts or whole numbers."""
    if len(names) > ENTRIES_MAX or not all(map(KEY.fullmatch, names)):
        raise _Unusual
    columns = _columns(names, rows)
    for values in columns.values():
        if set(map(type, values)) == {int}:
            if max(map(abs, values)) > INTEGER_MAX:
                raise _Unusual
        else:
            _require_plain(values)
    return columns


def _require_dimensions(columns: Mapping[str, Column]) -> None:
    if not columns.keys() <= _PLAIN_DIMENSIONS or not set(columns.get("purpose", ())) <= PURPOSES:
        raise _Unusual
    if any(isinstance(values[0], int) for values in columns.values()):
        raise _Unusual


def _require_plain(texts: Column) -> None:
    """Only what `require_text` takes; not all of that."""
    if set(map(type, texts)) != {str}:
        raise _Unusual
    lengths = set(map(len, texts))
    together = "".join(texts)
    if min(lengths) < 1 or max(lengths) > TEXT_LENGTH_MAX or not together.isprintable():
        raise _Unusual
    if together.count(".") >= UID_DOTS_MIN and any(text.count(".") >= UID_DOTS_MIN for text in texts):
        raise _Unusual


def _meters(kinds: Column, meters: Column, *, has_case: bool) -> list[str]:
    """The meter of each; checked once for each kind and meter that there are."""
    checked: dict[tuple[str, str], str] = {}
    for kind, meter in set(zip(kinds, meters, strict=True)):
        if kind not in _PLAIN_KINDS or not (has_case or kind == Kind.USAGE):
            raise _Unusual
        checked[kind, meter] = meter or METER_OF_KIND.get(kind, "")
        require_meter(kind, checked[kind, meter])
    return [checked[pair] for pair in zip(kinds, meters, strict=True)]


def _kinds_said(kinds: Column, meters: Column) -> list[str]:
    said = {pair: kind_said(*pair) for pair in set(zip(kinds, meters, strict=True))}
    return [said[pair] for pair in zip(kinds, meters, strict=True)]


def _quantities(values: Column) -> tuple[list[Decimal], list[str]]:
    """The numbers and their one spelling; each that there is is read once."""
    if not set(map(type, values)) <= {int, str}:
        raise _Unusual
    numbers = {value: read_quantity(value) for value in set(values)}
    for number in numbers.values():
        require_quantity(number)
    texts = {value: plain(number) for value, number in numbers.items()}
    return [numbers[value] for value in values], [texts[value] for value in values]


def _instants(texts: Column) -> list[datetime]:
    if set(map(type, texts)) != {str}:
        raise _Unusual
    try:
        instants = list(map(datetime.fromisoformat, texts))
        if any(instant.tzinfo is None for instant in instants):
            raise _Unusual
        return [instant.astimezone(UTC) for instant in instants]
    except (ValueError, OverflowError):
        raise _Unusual from None


def _as_json(columns: Mapping[str, Column]) -> list[str]:
    """Each row as an object with sorted keys, in ASCII."""
    names = sorted(columns)
    form = "{" + ", ".join(f'"{name}": %s' for name in names) + "}"
    told = [map(str if isinstance(columns[name][0], int) else quoted, columns[name]) for name in names]
    return [form % row for row in zip(*told, strict=True)]
