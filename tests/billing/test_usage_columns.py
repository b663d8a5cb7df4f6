"""A batch read in columns says of every event what the reading one by one says, and records the same rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.contracts import store
from billing.errors import InvalidUsageEvent
from billing.metering import ingest, usage_columns
from billing.metering.usage import UsageEvent
from billing.metering.usage_columns import read_batch
from billing.metering.usage_json import read_item

TENANT, SOURCE = "hospital-a", "gateway-7"
NOW = datetime(2026, 11, 20, tzinfo=UTC)

TEXTS = [
    "a", "放射科", "a\u00a0b", "Ü" * 200, "x" * 200, "x" * 201, "x" * 100_000, '"\\/', "a\tb", "\x7f", "\x1f", "",
    "\ud800", "\U0001f600", "1.2.3.4", "1.2.3.4.5", "v1.2.3.4.5", "192.168.100.200", None, 5, ["a"],
]  # fmt: skip
QUANTITIES = [
    1, 2, "2.5", "2.50", "1E+2", "１", 10**12, 10**12 + 1, "999999999999.999999", "0.000001", "0.0000001", 0, -1, True,
    1.5, "1e99999999", "NaN", 10**40, "x", "1" * 31, None, "", " 3 ",
]  # fmt: skip
TIMES = [
    "2026-11-19T10:00:00+08:00", "2026-11-19T02:00:00Z", "2026-11-19T02:00:00.123456+00:00", "20261119T020000Z",
    "2026-11-19 02:00:00-05:30", "2026-11-20T00:59:59Z", "2026-11-20T01:00:01Z", "2026-11-19T02:00:00", "2026-11-19",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2020-01-01T00:00:00Z", "yesterday", "", None, 1,
]  # fmt: skip
DIMENSIONS = [
    {}, {"site": "east"}, {"site": "east", "payer_class": "insured"}, {"payer_class": "insured", "site": "东院"},
    {"purpose": "shadow"}, {"purpose": "clinical", "site": "w"}, {"purpose": "?"}, {"verdict": "accepted"},
    {"patient": "x"}, {"site": 1}, {"site": "x" * 201}, {"site": ""}, [1], None, "site",
]  # fmt: skip
EVIDENCE = [
    {}, {"revision": 1}, {"revision": 1, "z": "b", "a": "中"}, {"a": "中", "z": "b", "revision": 7}, {"n": 2**63 - 1},
    {"n": -(2**63)}, {"n": 2**63}, {"n": True}, {"n": 1.5}, {"n": None}, {"Key": "x"}, {"a%s": "x"}, {"deep": [1]},
    {f"k{n}": n for n in range(40)}, {f"k{n}": n for n in range(41)}, {"study": "1.2.840.113619.2.55"}, {"%": 1}, 7,
]  # fmt: skip
CHANGES = {
    "quantity": QUANTITIES,
    "occurred_at": TIMES,
    "dimensions": DIMENSIONS,
    "evidence": EVIDENCE,
    "event_id": ["e1", "e2", *TEXTS],
    "case_key": ["case-1", "case-2", *TEXTS],
    "study_ref": TEXTS,
    "product": ["lung_nodule_ct", "unknown", *TEXTS],
    "meter": ["result", "api_call", "outcome", "revenue", *TEXTS],
    "kind": ["result_delivered", "seen_again", "failed", "usage", "outcome", "void", *TEXTS],
    "amount_minor": [5, -5, 10**15, 10**15 + 1, "5", True, None],
    "amount_currency": ["CNY", "cny", "ZZZ", 5, None],
    "voids": ["e1", "e2"],
    "reason": ["twice"],
    "price": [1],
}
LEFT_OUT = object()


def ordinary(number: int) -> dict[str, Any]:
    return {
        "event_id": f"e{number}",
        "product": "lung_nodule_ct",
        "occurred_at": "2026-11-19T10:00:00+08:00",
        "case_key": f"case-{number % 4}",
        "dimensions": {"site": f"site-{number}"},
    }


@st.composite
def events(draw: st.DrawFn) -> object:
    """Mostly an event as it should be, with a few fields that are something else, in any order."""
    item = ordinary(draw(st.integers(0, 5)))
    for name in draw(st.lists(st.sampled_from(sorted(CHANGES)), max_size=3, unique=True)):
        value = draw(st.sampled_from([LEFT_OUT, *CHANGES[name]]))
        if value is LEFT_OUT:
            item.pop(name, None)
        else:
            item[name] = value
    if draw(st.integers(0, 9)) == 0:
        item = dict(reversed(item.items()))
    return draw(st.sampled_from([5, None, [], "event"])) if draw(st.integers(0, 30)) == 0 else item


BATCHES = st.lists(events(), min_size=1, max_size=12)


def one_by_one(items: Sequence[object], tenant: str, source: str) -> list[Any]:
    read = []
    for item in items:
        try:
            read.append(read_item(item, tenant, source))
        except InvalidUsageEvent as problem:
            read.append(problem)
    return read


def told(one: object) -> object:
    """Everything there is to know of what was read."""
    if isinstance(one, UsageEvent):
        texts = (one.quantity_text, one.occurred_text, one.dimensions_json, one.evidence_json)
        return one, one.payload_hash, texts, str(one.kind)
    return (type(one), str(one)) if isinstance(one, InvalidUsageEvent) else one


@pytest.mark.parametrize("field", sorted(CHANGES))
def test_each_value_alone_and_beside_ordinary_ones_reads_as_one_by_one(field: str) -> None:
    for value in [LEFT_OUT, *CHANGES[field]]:
        for base in (ordinary(1), ordinary(1) | {"kind": "usage", "meter": "bed"}):
            changed = {name: one for name, one in (base | {field: value}).items() if one is not LEFT_OUT}
            for items in ([changed], [base | {"event_id": "e2"}, changed]):
                assert list(map(told, read_batch(items, TENANT, SOURCE))) == list(
                    map(told, one_by_one(items, TENANT, SOURCE))
                )


@settings(max_examples=100, deadline=None, derandomize=True)
@given(items=BATCHES)
def test_a_batch_in_columns_reads_as_one_by_one(items: list[object]) -> None:
    assert list(map(told, read_batch(items, TENANT, SOURCE))) == list(
        map(told, one_by_one(items, TENANT, SOURCE))
    )


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(batches=st.lists(BATCHES, min_size=1, max_size=3))
def test_answers_and_rows_are_the_same_either_way(conn: Any, batches: list[list[object]]) -> None:
    recorded = []
    for read in (read_batch, one_by_one):
        with conn.transaction(force_rollback=True), pytest.MonkeyPatch.context() as patch:
            patch.setattr(ingest, "read_batch", read)
            restart(conn)
            answers = [ingest.ingest(conn, TENANT, SOURCE, items, by="key x", now=NOW) for items in batches]
            rows = [
                conn.execute(f"SELECT * FROM billing.{table} ORDER BY 1, 2, 3".encode()).fetchall()
                for table in ("usage_event", "event_decision", "case_claim")
            ]
            recorded.append((answers, rows))
    assert recorded[0] == recorded[1]


def test_an_ordinary_batch_is_not_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [
        {"event_id": f"e{n}", "product": "ct", "occurred_at": "2026-11-19T10:00:00Z", "case_key": f"c{n}",
         "study_ref": "s", "quantity": n % 3 + 1, "dimensions": {"site": "东院"}, "evidence": {"revision": n}}
        for n in range(5)
    ]  # fmt: skip
    items += [
        {"event_id": f"u{n}", "meter": "image", "product": "x", "occurred_at": "2026-11-19T10:00:00Z"}
        for n in range(5)
    ]
    expected = [told(read_item(item, TENANT, SOURCE)) for item in items]
    monkeypatch.setattr(usage_columns, "read_item", None)
    assert list(map(told, read_batch(items, TENANT, SOURCE))) == expected


@settings(max_examples=100, deadline=None, derandomize=True)
@given(item=events())
def test_the_hash_is_of_the_canonical_json_of_what_the_event_says(item: object) -> None:
    [event] = one_by_one([item], TENANT, SOURCE)
    if not isinstance(event, UsageEvent):
        return
    said = {
        name: getattr(event, name)
        for name in ("tenant", "source", "event_id", "kind", "product", "study_ref", "case_key")
    }
    said |= {"dimensions": event.dimensions, "evidence": event.evidence, "quantity": event.quantity_text}
    said |= {"occurred_at": event.occurred_at.isoformat()}
    if event.kind == "usage":
        said["meter"] = event.meter
    if event.amount_minor is not None:
        said |= {"amount_minor": event.amount_minor, "amount_currency": event.amount_currency}
    assert event._payload() == json.dumps(said, sort_keys=True)


def restart(conn: Any) -> None:
    """The sequences of the tables, so that rows compare; a rollback leaves sequences where they are."""
    for table, column in (("usage_event", "ingest_sequence"), ("event_decision", "decision_sequence")):
        conn.execute(f"RESET ROLE; ALTER TABLE billing.{table} ALTER {column} RESTART WITH 1".encode())
    conn.execute("SET LOCAL ROLE radmeter_app")


@pytest.fixture
def conn(transact, per_case: str):
    with transact() as conn:
        store.add_contract(conn, TENANT, per_case)
        yield conn
