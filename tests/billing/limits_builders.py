"""Contracts with prepaid packages and limits, and events of members."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from billing.books import ledger
from billing.contracts import contract as contracts
from billing.contracts.limits_terms import Package
from billing.guarding import guard, limits, wallet
from billing.guarding.limit_worth import Work
from billing.statements import statement
from tests.billing.payment_seeds import TENANT

DECEMBER = datetime(2026, 12, 20, tzinfo=UTC)
NEW_YEAR = datetime(2027, 1, 2, tzinfo=UTC)
A_YEAR_LATER = datetime(2027, 12, 1, tzinfo=UTC)

LUNG = "lung_nodule_ct"
EVENING = datetime(2026, 11, 10, 12, tzinfo=UTC)  # 20:00 in Shanghai
QUOTA = "quotas: {id: day, units: 3, per: day, when_reached: wait}"
BUDGET = "budgets: {id: month, amount: 1000.00, when_reached: wait}"

MEMBERSHIP = """
contract: insured-2026
seller: {id: radmeter-imaging, name: Radmeter Imaging, number_prefix: RM}
buyer: {id: insurer, name: Good Health Insurance}
currency: CNY
time_zone: Asia/Shanghai
effective_from: 2026-01-01
tax: {name: VAT, rate: 0.06}
rates:
  - product: member_year
    title: {en: Membership, zh: 会员}
    unit: {en: member-year, zh: 人年}
    price: {model: per_unit, unit_price: 1200.00}
  - product: screening
    title: {en: Screening, zh: 筛查}
    unit: {en: screening, zh: 次}
    price: {model: per_unit, unit_price: 500.00}
prepaid:
  - id: three-screenings
    sold_by: member_year
    owner: member
    quantity: 3
    takes:
      - {product: screening, units: 1}
    valid_months: 12
"""

# 200 yuan of credit; a screening takes 70 of it.
CREDIT = MEMBERSHIP.replace(
    MEMBERSHIP[MEMBERSHIP.index("prepaid:") :],
    """
prepaid:
  - id: credit
    sold_by: member_year
    unit: money
    quantity: 200.00
    takes:
      - {product: screening, units: 70.00}
    valid_days: 365
    owe_up_to: 100.00
""",
)


def with_limits(text: str, *limits: str) -> str:
    """The contract with these items of `budgets` or `quotas`, each `section: item`."""
    sections: dict[str, list[str]] = {}
    for limit in limits:
        section, item = limit.split(":", 1)
        sections.setdefault(section, []).append(f"  - {item.strip()}\n")
    return text + "".join(f"{section}:\n{''.join(items)}" for section, items in sections.items())


def package(text: str = MEMBERSHIP) -> Package:
    return contracts.load(text).limits.packages[0]


def balance(
    transact, contract_id: int, owner: str = "m1", at: datetime = DECEMBER, text: str = MEMBERSHIP
) -> Decimal:
    with transact() as conn:
        return wallet.balance(conn, TENANT, contract_id, package(text), owner, at=at)


def issue(
    transact, contract_id: int, at: datetime = EVENING, now: datetime = NEW_YEAR
) -> statement.Statement:
    with transact() as conn:
        return statement.issue(conn, TENANT, contract_id, at, now=now, nil=True)


def accounts(owner) -> dict[str, int]:
    rows = owner.execute(
        "SELECT account, sum(amount_minor)::int AS minor FROM billing.posting GROUP BY account"
    )
    return {row["account"]: row["minor"] for row in rows if row["minor"]}


def sound(transact) -> None:
    with transact() as conn:
        assert ledger.check(conn, TENANT) == []


def state(transact, contract_id: int, now: datetime = EVENING) -> limits.LimitState:
    with transact() as conn:
        (found,) = limits.states(conn, TENANT, contract_id, now=now)
    return found


def ask(transact, now: datetime = EVENING, **options: object) -> guard.MayRun:
    values = {"is_urgent": False, "now": now, **options}
    with transact() as conn:
        return guard.may_run(conn, TENANT, LUNG, **values)


def under_way(count: int, product: str = LUNG, **dimensions: str) -> list[Work]:
    return [Work(product, dimensions, count)]
