"""What is wrong in the sections `prepaid`, `budgets` and `quotas` is told with its line."""

from __future__ import annotations

import pytest

from billing.contracts import contract as contracts
from billing.errors import ContractError
from tests.billing.limits_builders import MEMBERSHIP, with_limits


@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        (("sold_by: member_year", "sold_by: nothing"), 20, "`sold_by` has no rate"),
        (("quantity: 3", "quantity: 0"), 22, "`quantity` needs a number"),
        (("valid_months: 12", "valid_months: 12\n    valid_days: 3"), 19, "either `valid_days` or"),
        (("product: screening, units: 1", "product: member_year, units: 1"), 24, "own purchase"),
        (("owner: member", "owner: nobody"), 21, "must be one of: contract, member"),
        (("valid_months: 12", "valid_months: 12\n    colour: red"), 26, "`colour` is not known"),
        (("unit_price: 500.00", "unit_price: 500.00}\n    free: {a: 1"), 18, "`free` is not known"),
    ],
)
def test_of_a_package(change: tuple[str, str], line: int, message: str) -> None:
    with pytest.raises(ContractError) as caught:
        contracts.load(MEMBERSHIP.replace(*change, 1))
    assert [problem.line for problem in caught.value.problems if message in problem.message] == [line]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("quotas: {id: a}", "`units` is missing"),
        ("quotas: {id: A, units: 1}", "`id` needs lower-case"),
        ("quotas: {id: a, units: 0}", "`units` needs a number"),
        ("budgets: {id: a, amount: 1.005}", "`amount` has more decimals than CNY"),
        ("quotas: {id: a, units: 1, for: {colour: red}}", "`colour` is not known here"),
        ("quotas: {id: a, units: 1, for: {product: nothing}}", "`product` has no rate in this contract"),
        ("quotas: {id: a, units: 1, alerts: [half]}", "`alerts` needs at most ten whole percentages"),
        ("quotas: {id: a, units: 1, per: year}", "`per` must be one of: day, month, term"),
    ],
)
def test_of_a_limit(per_case: str, item: str, message: str) -> None:
    text = with_limits(per_case, item)
    with pytest.raises(ContractError) as caught:
        contracts.load(text)
    (problem,) = caught.value.problems
    assert message in problem.message
    assert problem.line == len(text.splitlines())
