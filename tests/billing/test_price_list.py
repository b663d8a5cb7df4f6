"""A public price list: what patients may be charged by place and day, never mixed with the vendor's fee."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from billing.contracts import contract as contracts
from billing.errors import ContractError
from billing.rating.price_list import Examination, charges

HEAD = """
contract: items
seller: {id: vendor, name: Vendor}
buyer: {id: hospital, name: Hospital}
currency: CNY
time_zone: Asia/Shanghai
effective_from: 2026-01-01
tax: {name: VAT, rate: 0.06}
rates:
  - product: ct
    title: {en: CT, zh: CT}
    unit: {en: case, zh: 例}
    price: {model: per_unit, unit_price: 45}
price_list:
"""
TITLE = "title: {en: AI, zh: AI}, products: [ct], "


def items(*texts: str) -> str:
    return HEAD + "".join(f"  - {{code: AI, jurisdiction: CN-33, {TITLE}{text}}}\n" for text in texts)


def charged(text: str, day: str, item_code: str = "CT", region: str = "CN-33") -> tuple[str, str]:
    listed = contracts.load(text).price_list
    [charge] = charges(
        listed, [Examination("ct", region, date.fromisoformat(day), item_code, Decimal(3))], "CNY"
    )
    assert charge.amount.amount_minor == 3 * charge.unit_amount.amount_minor
    return charge.reason, str(charge.unit_amount)


@pytest.mark.parametrize(
    ("more", "item_code", "expected"),
    [
        ("price: 200", "CT", ("charged", "200.00")),
        ("price: 200, cap: 150.005", "CT", ("charged", "150.01")),
        ("price: 200, requires: [CT]", "", ("parent_item_missing", "0.00")),
        ("price: 200, excluded_by: [CT-AI]", "CT-AI", ("inside_parent_item", "0.00")),
        ("patient_chargeable: no", "CT", ("inside_parent_item", "0.00")),
    ],
)
def test_an_item_is_charged_as_the_list_says(more: str, item_code: str, expected: tuple[str, str]) -> None:
    assert charged(items(f"from: 2026-01-01, {more}"), "2026-05-05", item_code) == expected


def test_the_price_of_the_day_counts_and_its_last_day_is_exclusive() -> None:
    text = items("from: 2026-01-01, until: 2026-07-01, price: 200", "from: 2026-07-01, price: 180")
    assert charged(text, "2026-06-30") == ("charged", "200.00")
    assert charged(text, "2026-07-01") == ("charged", "180.00")
    assert charged(text, "2025-12-31") == ("no_item", "0.00")
    assert charged(text, "2026-06-30", region="CN-46") == ("no_item", "0.00")


def test_a_part_of_the_parents_price_is_rounded_once_for_a_patient() -> None:
    parent = "  - {code: CT, jurisdiction: CN-33, title: {en: CT, zh: CT}, from: 2026-03-01, price: 333.33}\n"
    text = items("from: 2026-01-01, parent: CT, fraction: 0.15") + parent
    assert charged(text, "2026-05-05") == ("charged", "50.00")  # 49.9995
    assert charged(text, "2026-02-05") == ("no_parent_price", "0.00")


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (
            ["from: 2026-01-01, until: 2026-06-01, price: 1", "from: 2026-07-01, price: 2"],
            "AI in CN-33 has no price from 2026-06-01 until 2026-07-01",
        ),
        (
            ["from: 2026-01-01, price: 1", "from: 2026-07-01, price: 2"],
            "AI in CN-33 has two prices from 2026-07-01",
        ),
        (["from: 2026-01-01, until: 2025-01-01, price: 1"], "`until` must be later than `from`"),
        (["from: 2026-01-01, parent: CT, fraction: 0.2"], "CT is no item with a price in CN-33"),
        (["from: 2026-01-01"], "`price` is missing"),
    ],
)
def test_a_gap_in_time_is_found_where_the_contract_is_checked(texts: list[str], problem: str) -> None:
    with pytest.raises(ContractError, match=problem) as error:
        contracts.load(items(*texts))
    assert error.value.problems[0].line > 14
