"""Reconciliation: billed and not done, done and not billed, from CSV, HL7 v2 DFT^P03 and FHIR ChargeItems."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from billing import accounting, hospital_count, meter, reconcile, store
from billing.books_errors import HospitalCountRefused, ReconciliationNotFound
from billing.hospital_count import ReadingRules, request_token
from billing.reconcile import Reconciliation
from billing.usage import UsageEvent

TENANT = "hospital-a"
NOW = datetime(2026, 12, 2, tzinfo=UTC)
KEY = b"the hospital's key"
MakeEvent = Callable[..., UsageEvent]
PRODUCT = "lung_nodule_ct"
HEADER = "token,code,day,quantity\n"


@pytest.fixture
def used(transact, per_case: str, make_event: MakeEvent) -> None:
    """Deliveries for the orders ACC1 to ACC5 on 10 to 14 November, a refusal for ACC6; zone Shanghai."""
    with transact() as conn:
        accounting.set_zone(conn, TENANT, "Asia/Shanghai")
        store.add_contract(conn, TENANT, per_case)
        for number in range(1, 7):
            event = make_event(
                number,
                kind="refused" if number == 6 else "result_delivered",
                occurred_at=datetime(2026, 11, 9 + number, 2, tzinfo=UTC),
                dimensions={"request": request_token(KEY, f"ACC{number}")},
            )
            meter.record(conn, event, received_at=NOW)


def compare(conn, content: str | bytes, style: str = "csv", **changes: object) -> Reconciliation:
    raw = content.encode() if isinstance(content, str) else content
    values = {
        "style": style,
        "since": date(2026, 11, 1),
        "until": date(2026, 11, 30),
        "by": "ann",
        "now": NOW,
        "key": KEY,
        "codes": {"CT-AI-1": PRODUCT},
        **changes,
    }
    return reconcile.reconcile(conn, TENANT, raw, **values)


def outcome(one: Reconciliation) -> tuple[int, list[tuple[str, int, str]]]:
    """(matched, differences as (verdict, day of the order in November, reason))."""
    found = [(one.verdict.value, (one.our_day or one.their_day).day, one.why) for one in one.differences]
    return one.matched_count, found


# The hospital counts ACC1, ACC2 twice, ACC3 a day later, ACC6 that was refused, ACC9 that we never saw, and a chest
# film that is none of ours; it misses ACC4 and ACC5.
CSV = (
    HEADER + "ACC1,CT-AI-1,2026-11-10,1\nACC2,CT-AI-1,2026-11-11,2\nACC3,CT-AI-1,2026-11-13,\n"
    "ACC6,CT-AI-1,2026-11-15,1\nACC9,CT-AI-1,2026-11-16T23:30:00+08:00,1\nACC1,XR-CHEST,2026-11-10,1\n"
)
EXPECTED = (
    2,
    [
        ("not_billed", 15, "refused"),
        ("not_billed", 16, ""),
        ("not_in_their_list", 13, ""),
        ("not_in_their_list", 14, ""),
        ("quantity_differs", 11, ""),
    ],
)


def hl7_message(number: int, *charges: tuple[str, str, str, str, str]) -> str:
    """DFT^P03 as HIS write it, with a patient whom nobody may read; charge: (order, code, time, type, quantity)."""
    segments = [
        f"MSH|^~\\&|HIS|HOSP|RADMETER|X|20261201||DFT^P03^DFT_P03|{number}|P|2.5.1",
        "EVN|P03|20261201",
        "PID|1||4711^^^H||Doe^Jane||19500101|F",
    ]
    for position, (order, code, time, kind, quantity) in enumerate(charges, start=1):
        between = "|" * 13
        segments.append(
            f"FT1|{position}|T{number}||{time}||{kind}|{code}^AI reading|||{quantity}{between}{order}^RIS"
        )
    return "\r".join(segments) + "\r"


HL7 = "".join(
    [
        hl7_message(
            1, ("ACC1", "CT-AI-1", "20261110120000", "CG", "1"), ("ACC1", "XR", "20261110", "CG", "1")
        ),
        hl7_message(
            2, ("ACC2", "CT-AI-1", "20261111", "CG", "3"), ("ACC2", "CT-AI-1", "20261111", "CR", "1")
        ),
        hl7_message(3, ("ACC3", "CT-AI-1", "20261113", "CG", ""), ("ACC3", "CT-AI-1", "20261113", "PY", "1")),
        hl7_message(
            4, ("ACC6", "CT-AI-1", "20261115", "CG", "1"), ("ACC9", "CT-AI-1", "20261116", "CG", "1")
        ),
        hl7_message(
            5, ("ACC5", "CT-AI-1", "20261114", "CG", "1"), ("ACC5", "CT-AI-1", "20261114", "CR", "1")
        ),
    ]
)


def charge_item(order: str, day: str, **changes: object) -> dict[str, object]:
    resource = {
        "resourceType": "ChargeItem",
        "status": "billable",
        "identifier": [{"system": "urn:other", "value": "X"}, {"system": "urn:orders", "value": order}],
        "code": {"coding": [{"code": "CT-AI-1"}]},
        "subject": {"reference": "Patient/4711", "display": "Jane Doe"},
        "occurrenceDateTime": day,
        **changes,
    }
    return {"resource": resource}


def fhir_bundle(*entries: dict[str, object]) -> str:
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": list(entries)})


FHIR = fhir_bundle(
    charge_item("ACC1", "2026-11-10"),
    charge_item("ACC2", "2026-11-10T17:00:00Z", quantity={"value": 2}),
    charge_item("ACC3", "2026-11-13T09:00:00+08:00"),
    charge_item("ACC4", "2026-11-13", status="entered-in-error"),
    charge_item("ACC6", "2026-11-15"),
    charge_item("ACC9", "2026-11-16"),
    {"resource": {"resourceType": "Patient", "name": [{"family": "Doe"}]}},
    charge_item("ACC1", "2026-11-10", code={"coding": [{"code": "XR"}]}),
)


@pytest.mark.parametrize(
    ("style", "content", "changes"),
    [("csv", CSV, {}), ("hl7", HL7, {}), ("fhir", FHIR, {"identifier_system": "urn:orders"})],
)
def test_every_kind_of_list_tells_the_same_differences(transact, used, style, content, changes) -> None:
    with transact() as conn:
        one = compare(conn, content, style, **changes)
    assert outcome(one) == EXPECTED
    assert one.ignored_count == 1


def test_it_is_stored_and_printed_without_orders_or_names(transact, used, owner) -> None:
    with transact() as conn:
        one = compare(conn, HL7, "hl7")
    with transact() as conn:
        assert reconcile.get(conn, TENANT, one.reconciliation_id) == one
        assert [row.reconciliation_id for row in reconcile.latest(conn, TENANT)] == [one.reconciliation_id]
        with pytest.raises(ReconciliationNotFound):
            reconcile.get(conn, TENANT, one.reconciliation_id + 1)
    printed = reconcile.text(one)
    assert "billed and not in their list: 2" in printed
    assert "in their list and not billed: 2" in printed
    assert (
        f"not_billed: {PRODUCT} {request_token(KEY, 'ACC6')} day - / 2026-11-15 quantity 0 / 1, row 7"
        in printed
    )
    stored = "".join(
        str(row)
        for table in ("reconciliation", "reconciliation_line")
        for row in owner.execute(f"SELECT * FROM billing.{table}")
    )
    for secret in ("ACC", "Doe", "Jane", "4711", "1950"):
        assert secret not in printed + stored


def test_a_hospital_that_hashes_itself_needs_to_give_no_key(transact, used) -> None:
    with transact() as conn:
        one = compare(conn, HEADER + f"{request_token(KEY, 'ACC1')},{PRODUCT},2026-11-10,1\n", key=None)
        assert one.matched_count == 1
        by_case = HEADER + "case-2,CT-AI-1,2026-11-11,1\n"
        assert compare(conn, by_case, key=None, matched_by="case").matched_count == 1


def test_raw_accession_numbers_never_enter_the_books(transact, used, owner) -> None:
    with transact() as conn, pytest.raises(HospitalCountRefused, match=r"row 2: the token is no HMAC"):
        compare(conn, HEADER + "ACC1,CT-AI-1,2026-11-10,1\n", key=None)
    assert owner.execute("SELECT count(*) AS n FROM billing.reconciliation").fetchone() == {"n": 0}


def test_days_count_in_the_zone_of_the_books_and_the_list_of_a_month_ends_with_it(transact, used) -> None:
    """17:00 UTC on the 9th is the 10th in Shanghai; a list of the 10th alone says nothing about the 11th."""
    with transact() as conn:
        content = HEADER + "ACC1,CT-AI-1,2026-11-09T17:00:00Z,1\nACC5,CT-AI-1,2026-11-20,1\n"
        one = compare(conn, content, since=date(2026, 11, 10), until=date(2026, 11, 10))
        assert outcome(one) == (1, [])
        assert one.ignored_count == 1


def test_a_delivery_at_the_edge_of_the_days_is_matched_across_it(transact, used) -> None:
    with transact() as conn:
        content = HEADER + "ACC1,CT-AI-1,2026-11-11,1\nACC2,CT-AI-1,2026-11-11,1\n"
        one = compare(conn, content, since=date(2026, 11, 11), until=date(2026, 11, 11))
        assert outcome(one) == (2, [])
        too_far = HEADER + "ACC1,CT-AI-1,2026-11-14,1\n"
        one = compare(conn, too_far, since=date(2026, 11, 14), until=date(2026, 11, 14))
    assert outcome(one) == (0, [("not_billed", 14, ""), ("not_in_their_list", 14, "")])


HOSTILE = {
    "empty": ("csv", b"", "no rows"),
    "only a heading": ("csv", HEADER.encode(), "no rows"),
    "no column": ("csv", b"a,b\n1,2\n", "no column token, code, day"),
    "not text": ("csv", b"\xff\xfe\x00", "not text in utf-8"),
    "quantity": ("csv", f"{HEADER}A,CT-AI-1,2026-11-10,one\n".encode(), "row 2: the quantity"),
    "infinite": ("csv", f"{HEADER}A,CT-AI-1,2026-11-10,Infinity\n".encode(), "row 2: the quantity"),
    "exponent": ("csv", f"{HEADER}A,CT-AI-1,2026-11-10,1e999999999\n".encode(), "row 2: the quantity"),
    "many digits": ("csv", f"{HEADER}A,CT-AI-1,2026-11-10,{'9' * 10000}\n".encode(), "row 2: the quantity"),
    "day": ("csv", f"{HEADER}A,CT-AI-1,10/11/2026,1\n".encode(), "row 2: the day"),
    "short row": ("csv", f"{HEADER}A\n".encode(), "row 2: needs a token and a code"),
    "long token": ("csv", f"{HEADER}{'A' * 500},X,2026-11-10,1\n".encode(), "row 2: needs a token"),
    "huge field": ("csv", f"{HEADER}{'A' * 200_000},X,2026-11-10,1\n".encode(), "not CSV"),
    "nul": ("csv", b"token,code,day\n\x00,\x00,\x00\n", "row 2"),
    "no hl7": ("hl7", b"hello", "no rows"),
    "other message": ("hl7", b"MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5\rFT1|1\r", "no rows"),
    "header alone": ("hl7", b"MSH", "not HL7"),
    "short FT1": ("hl7", b"MSH|^~\\&|A|B|C|D|2026||DFT^P03|1|P|2.5\rFT1|1|||20261110||CG|X\r", "needs a token"),
    "hl7 day": ("hl7", hl7_message(1, ("A", "X", "2026", "CG", "1")).encode(), "row 1: the day"),
    "no json": ("fhir", b"{", "not JSON"),
    "deep json": ("fhir", b"[" * 100_000, "not JSON"),
    "other json": ("fhir", b"[]", "not a FHIR Bundle"),
    "entry": ("fhir", b'{"resourceType": "Bundle", "entry": {"a": 1}}', "no list"),
    "nothing": ("fhir", b'{"resourceType": "Bundle", "entry": [1, null, {"resource": 5}]}', "no rows"),
    "no code": ("fhir", fhir_bundle(charge_item("A", "2026-11-10", code={"text": "CT"})).encode(), "entry 1: needs"),
    "status": ("fhir", fhir_bundle(charge_item("A", "2026-11-10", status=[1])).encode(), "entry 1: not a FHIR"),
    "fhir quantity": (
        "fhir",
        fhir_bundle(charge_item("A", "2026-11-10", quantity={"value": 1e30})).encode(),
        "row 1: the quantity",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_list_is_refused_with_its_row(name: str) -> None:
    style, content, message = HOSTILE[name]
    with pytest.raises(HospitalCountRefused, match=message):
        hospital_count.read(content, style, ReadingRules("UTC", key=KEY))


def test_the_size_of_a_list_is_bounded(monkeypatch) -> None:
    row = "A,CT-AI-1,2026-11-10,1\n"
    monkeypatch.setattr(hospital_count, "ROWS_MAX", 3)
    assert len(hospital_count.read((HEADER + row * 3).encode(), "csv", ReadingRules("UTC"))) == 3
    with pytest.raises(HospitalCountRefused, match="more than 3 rows"):
        hospital_count.read((HEADER + row * 4).encode(), "csv", ReadingRules("UTC"))
    monkeypatch.setattr(hospital_count, "FILE_BYTES_MAX", 10)
    with pytest.raises(HospitalCountRefused, match="longer than 10 bytes"):
        hospital_count.read((HEADER + row).encode(), "csv", ReadingRules("UTC"))


def test_a_list_in_the_hospitals_encoding_with_its_own_column_names() -> None:
    content = "检查号,项目,日期\nACC1,肺结节,2026-11-10\n".encode("gb18030")
    rules = ReadingRules(
        "Asia/Shanghai",
        key=KEY,
        encoding="gb18030",
        columns={"token": "检查号", "code": "项目", "day": "日期"},
    )
    (item,) = hospital_count.read(content, "csv", rules)
    assert (item.code, item.day, item.quantity) == ("肺结节", date(2026, 11, 10), Decimal(1))
    assert item.token == request_token(KEY, "ACC1")


def test_days_that_run_backwards_are_refused(transact, used) -> None:
    with transact() as conn, pytest.raises(HospitalCountRefused, match="backwards"):
        compare(conn, CSV, until=date(2026, 11, 1) - timedelta(days=1))
