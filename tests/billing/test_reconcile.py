"""Reconciliation: billed and not done, done and not billed, from CSV, HL7 v2 DFT^P03 and FHIR ChargeItems."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest

from billing.books import accounting, reconcile
from billing.books.books_errors import HospitalCountRefused, ReconciliationNotFound
from billing.books.hospital_count import request_token
from billing.books.reconcile import Reconciliation
from billing.contracts import store
from billing.metering import meter
from billing.metering.usage import UsageEvent
from tests.billing.hospital_lists import CSV, FHIR, HEADER, HL7, KEY

TENANT = "hospital-a"
NOW = datetime(2026, 12, 2, tzinfo=UTC)
MakeEvent = Callable[..., UsageEvent]
PRODUCT = "lung_nodule_ct"


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


def test_days_that_run_backwards_are_refused(transact, used) -> None:
    with transact() as conn, pytest.raises(HospitalCountRefused, match="backwards"):
        compare(conn, CSV, until=date(2026, 11, 1) - timedelta(days=1))
