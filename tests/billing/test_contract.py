"""A contract is data: read exactly, or refused with every problem and its line."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from billing.contracts import contract
from billing.errors import ContractError
from billing.pricing.flat import Flat
from billing.pricing.graduated import Graduated
from billing.pricing.package import Package
from billing.pricing.per_unit import PerUnit
from billing.pricing.volume import Volume

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("contract_*.yaml")), ids=lambda path: path.stem)
def test_every_example_is_a_contract(path: Path) -> None:
    assert contract.load(path.read_text()).currency == "CNY"


def test_the_demo_contract_says_100_yuan_per_case(per_case: str) -> None:
    read = contract.load(per_case)
    assert read.rates[0].pricing == PerUnit(Decimal("100.00"))
    assert (read.time_zone, read.anchor_day, read.effective_from) == ("Asia/Shanghai", 1, date(2026, 1, 1))
    assert read.tax.rate == Decimal("0.06")


def test_prices_are_exact_decimals(graduated: str) -> None:
    pricing = contract.load(graduated.replace("45.50", "0.1000000000000000055")).rates[0].pricing
    assert isinstance(pricing, Graduated)
    assert pricing.tiers[2].unit_price == Decimal("0.1000000000000000055")


def test_each_pricing_model_is_a_type_of_its_own(per_case: str, package: str, graduated: str) -> None:
    assert [type(rate.pricing) for rate in contract.load(package).rates] == [Package, Flat]
    volume = contract.load(graduated.replace("model: graduated  ", "model: volume  "))
    assert isinstance(volume.rates[0].pricing, Volume)


def problems(text: str) -> list[tuple[int, str]]:
    with pytest.raises(ContractError) as caught:
        contract.load(text)
    return [(problem.line, problem.message) for problem in caught.value.problems]


def test_all_problems_are_told_at_once_with_their_lines(per_case: str) -> None:
    broken = (
        per_case.replace("currency: CNY ", "currency: RMB ")
        .replace("Asia/Shanghai  ", "Shanghai  ")
        .replace("unit_price: 100.00", "unit_price: a hundred")
        .replace("payment_terms_days: 30", "payment_days: 30")
    )
    lines = per_case.splitlines()
    where = {
        name: next(i for i, line in enumerate(lines, 1) if line.strip().startswith(name))
        for name in ("currency", "time_zone", "unit_price", "payment_terms_days")
    }
    assert problems(broken) == sorted(
        [
            (where["currency"], "`currency` is not an ISO 4217 code like CNY"),
            (where["time_zone"], "`time_zone` is not an IANA name like Asia/Shanghai"),
            (where["unit_price"], "`unit_price` needs a number of at least 0"),
            (where["payment_terms_days"], "`payment_days` is not known here"),
        ]
    )


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("unit_price: 100.00", "unit_price: -1", "needs a number of at least 0"),
        ("unit_price: 100.00", "unit_price: .inf", "needs a number of at least 0"),
        ("rate: 0.06", "rate: 6", "is a fraction"),
        ("anchor_day: 1 ", "anchor_day: 32 ", "needs a whole number from 1 to 31"),
        ("effective_from: 2026-01-01", "effective_from: 2026-02-30", "needs a date"),
        ("contract: per-case-2026 ", "contract: ../../etc ", "needs lower-case letters"),
        ("model: per_unit", "model: haggle", "must be one of"),
        ("currency: CNY ", "currency: CNY\ncurrency: EUR ", "comes twice"),
        ("unit: {en: case, zh: 例}", "unit: {en: case}", "`zh` is missing"),
    ],
)
def test_a_wrong_value_is_refused(per_case: str, before: str, after: str, message: str) -> None:
    assert before in per_case
    assert any(message in text for _, text in problems(per_case.replace(before, after)))


def test_tiers_must_rise_and_end_open(graduated: str) -> None:
    assert "must rise" in problems(graduated.replace("up_to: 500", "up_to: 50"))[0][1]
    assert (
        "every tier but the last"
        in problems(graduated.replace("- {unit_price: 45.50}", "- {up_to: 900, unit_price: 1}"))[0][1]
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "[1]",
        "a: [",
        "a: &x [*x]",
        "\x00",
        "a: !!python/object/apply:os.system ['true']",
        "[" * 10_000,
        "- " * 5000,
        "x" * 300_000,
    ],
    ids=["empty", "scalar", "list", "cut", "alias", "nul", "object", "brackets", "dashes", "long"],
)
def test_what_is_no_contract_ends_in_a_contract_error(text: str) -> None:
    assert problems(text)
