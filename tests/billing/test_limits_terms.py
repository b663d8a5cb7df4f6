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
        (
            "quotas: {id: a, units: 1, for: {api_key: k}, when_reached: refuse}",
            "give the product `api` a rate",
        ),
    ],
)
def test_of_a_limit(per_case: str, item: str, message: str) -> None:
    text = with_limits(per_case, item)
    with pytest.raises(ContractError) as caught:
        contracts.load(text)
    (problem,) = caught.value.problems
    assert message in problem.message
    assert problem.line == len(text.splitlines())


CALLS = """  - product: api
    meter: api_call
    title: {en: Calls, zh: 调用}
    unit: {en: call, zh: 次}
    price: {model: per_unit, unit_price: 0.01}
"""


@pytest.mark.parametrize("scope", ["", ", for: {product: lung_nodule_ct}", ", for: {site: north}"])
def test_only_calls_of_the_api_can_be_refused(per_case: str, scope: str) -> None:
    item = f"quotas: {{id: a, units: 1, when_reached: refuse{scope}}}"
    with pytest.raises(ContractError, match="`refuse` is for calls of the API"):
        contracts.load(with_limits(per_case + CALLS, item))
    of_calls = item.replace(scope, "").replace("refuse", "refuse, for: {api_key: ab12cd34}")
    assert contracts.load(with_limits(per_case + CALLS, of_calls)).limits.limits[0].when_reached == "refuse"


@pytest.mark.parametrize("change", ["", ", owner: member"])
def test_only_a_package_of_calls_alone_refuses(change: str) -> None:
    text = MEMBERSHIP.replace("    valid_months: 12", "    valid_months: 12\n    when_empty: refuse")
    with pytest.raises(ContractError, match="takes `api` alone"):
        contracts.load(text.replace("    owner: member\n", "" if not change else "    owner: member\n"))
