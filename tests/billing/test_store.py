"""Contract versions are immutable, begin with a period, and never overlap."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from billing.contracts import store
from billing.errors import ContractNotFound, ContractOverlap, ContractVersionRefused
from billing.metering import meter
from billing.metering.usage import UsageEvent
from billing.statements import statement

TENANT = "hospital-a"
NOVEMBER = datetime(2026, 11, 20, tzinfo=UTC)
MakeEvent = Callable[..., UsageEvent]


def changed(text: str, *pairs: tuple[str, str]) -> str:
    for before, after in pairs:
        assert before in text
        text = text.replace(before, after)
    return text


@pytest.fixture
def dearer(per_case: str) -> str:
    """The second version: 120.00 from December."""
    return changed(
        per_case, ("effective_from: 2026-01-01", "effective_from: 2026-12-01"), ("100.00", "120.00")
    )


def test_the_same_text_again_is_the_same_contract(transact, per_case: str) -> None:
    with transact() as conn:
        contract_id = store.add_contract(conn, TENANT, per_case)
        assert store.add_contract(conn, TENANT, per_case) == contract_id
        [stored] = store.list_contracts(conn, TENANT)
    assert (stored.contract_id, stored.version, stored.contract.name) == (contract_id, 1, "per-case-2026")


def test_a_price_change_applies_from_its_day_on(
    transact, per_case: str, dearer: str, make_event: MakeEvent
) -> None:
    december = datetime(2026, 12, 5, tzinfo=UTC)
    with transact() as conn:
        contract_id = store.add_contract(conn, TENANT, per_case)
        assert store.add_contract(conn, TENANT, dearer) == contract_id
        meter.record(conn, make_event(1))
        meter.record(conn, make_event(2, occurred_at=december), received_at=december)
        drafts = [statement.draft(conn, TENANT, contract_id, at) for at in (NOVEMBER, december)]
        assert [stored.version for stored in store.list_contracts(conn, TENANT)] == [2]
    assert [(draft.contract_version, str(draft.subtotal)) for draft in drafts] == [
        (1, "100.00"),
        (2, "120.00"),
    ]


@pytest.mark.parametrize(
    ("pairs", "why"),
    [
        ([("2026-12-01", "2026-12-02")], "first day of a period"),
        ([("2026-12-01", "2025-12-01")], "must be later"),
        ([("currency: CNY ", "currency: EUR ")], "currency"),
        ([("Asia/Shanghai ", "UTC ")], "time_zone"),
        ([("anchor_day: 1 ", "anchor_day: 2 ")], "anchor_day"),
        ([("id: demo-hospital", "id: other-hospital")], "buyer_id"),
    ],
)
def test_a_version_that_would_touch_the_past_is_refused(
    transact, per_case: str, dearer: str, pairs: list[tuple[str, str]], why: str
) -> None:
    with transact() as conn:
        store.add_contract(conn, TENANT, per_case)
        with pytest.raises(ContractVersionRefused, match=why):
            store.add_contract(conn, TENANT, changed(dearer, *pairs))


def test_a_billed_period_cannot_be_priced_again(transact, per_case: str, make_event: MakeEvent) -> None:
    with transact() as conn:
        contract_id = store.add_contract(conn, TENANT, per_case)
        statement.issue(conn, TENANT, contract_id, NOVEMBER, now=datetime(2026, 12, 1, tzinfo=UTC), nil=True)
        late = changed(per_case, ("effective_from: 2026-01-01", "effective_from: 2026-11-01"))
        with pytest.raises(ContractVersionRefused, match="billed already"):
            store.add_contract(conn, TENANT, late)


def test_a_version_cannot_drop_a_product_that_was_used(
    transact, per_case: str, make_event: MakeEvent
) -> None:
    with transact() as conn:
        store.add_contract(conn, TENANT, per_case)
        meter.record(conn, make_event(1))
        dropped = changed(
            per_case,
            ("effective_from: 2026-01-01", "effective_from: 2026-11-01"),
            ("product: lung_nodule_ct", "product: other"),
        )
        with pytest.raises(ContractVersionRefused, match="needs a price"):
            store.add_contract(conn, TENANT, dropped)


def test_two_contracts_cannot_price_one_product_at_a_time(transact, per_case: str, graduated: str) -> None:
    with transact() as conn:
        store.add_contract(conn, TENANT, per_case)
        with pytest.raises(ContractOverlap):
            store.add_contract(conn, TENANT, graduated)
        other = changed(graduated, ("product: lung_nodule_ct", "product: brain_mr"))
        store.add_contract(conn, TENANT, other)
        # The first contract gives the product up from December: then the second may take it.
        without = changed(
            per_case,
            ("effective_from: 2026-01-01", "effective_from: 2026-12-01"),
            ("product: lung_nodule_ct", "product: retired"),
        )
        store.add_contract(conn, TENANT, without)
        taken = changed(
            graduated, ("contract: graduated-2026", "contract: new"), ("2026-01-01", "2026-12-01")
        )
        store.add_contract(conn, TENANT, taken)
    with transact() as conn, pytest.raises(ContractOverlap):
        store.add_contract(
            conn, TENANT, changed(taken, ("contract: new", "contract: newer"), ("2026-12-01", "2026-10-01"))
        )


def test_a_contract_that_is_not_there_is_not_found(transact, per_case: str) -> None:
    with transact() as conn:
        contract_id = store.add_contract(conn, TENANT, per_case)
        with pytest.raises(ContractNotFound):
            statement.draft(conn, TENANT, contract_id + 1, NOVEMBER)
        with pytest.raises(ContractNotFound):
            statement.draft(conn, TENANT, contract_id, datetime(2025, 11, 1, tzinfo=UTC))
