"""Contracts with prepaid packages and limits, and events of members."""

from __future__ import annotations

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

# 10,000 yuan bought for 9,000; a case takes 70 yuan.
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
