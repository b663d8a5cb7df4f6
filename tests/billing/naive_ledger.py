"""Books of the plainest kind: what there was, and what every account must come to. Shares no code with `billing`.

It knows one agreement: 100.00 a case, 6 % tax, and a developer who gets 0.333 of what was collected.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction

SHARE = Fraction(333, 1000)


def rounded(value: Fraction) -> int:
    return int(value + Fraction(1, 2))


def two_parts(total: int, first: Fraction, second: Fraction) -> tuple[int, int]:
    """Whole parts of exact shares that sum to `total`; what is left over goes to the larger remainder."""
    parts = [int(first), int(second)]
    for _ in range(total - sum(parts)):
        rests = (first - parts[0], second - parts[1])
        parts[0 if rests[0] >= rests[1] else 1] += 1
    return parts[0], parts[1]


@dataclass
class Sale:
    cases: int
    credited: Fraction = Fraction(0)
    paid: int = 0

    @property
    def net(self) -> int:
        return 10_000 * self.cases

    @property
    def tax(self) -> int:
        return rounded(self.net * Fraction(6, 100))

    @property
    def due(self) -> int:
        return self.net + self.tax - rounded(self.net * self.credited) - rounded(self.tax * self.credited)

    @property
    def still_open(self) -> int:
        return self.due - self.paid

    @property
    def developers(self) -> int:
        """The developer's part of what was not credited."""
        theirs, ours = two_parts(self.net, self.net * SHARE, self.net * (1 - SHARE))
        back, _ = two_parts(rounded(self.net * self.credited), theirs * self.credited, ours * self.credited)
        return theirs - back

    @property
    def earned(self) -> int:
        """As much of it as was collected."""
        collected = min(Fraction(self.paid, self.due), Fraction(1)) if self.due > 0 else Fraction(1)
        return rounded(self.developers * collected)


@dataclass
class Books:
    sales: dict[int, Sale] = field(default_factory=dict)
    received: dict[int, int] = field(default_factory=dict)
    allocated: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    refunded: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    paid_out: int = 0

    def unapplied(self, payment: int) -> int:
        return self.received[payment] - self.allocated[payment] - self.refunded[payment]

    @property
    def payable(self) -> int:
        return sum(sale.earned for sale in self.sales.values()) - self.paid_out

    def balances(self) -> dict[str, int]:
        sales = list(self.sales.values())
        theirs, earned = sum(one.developers for one in sales), sum(one.earned for one in sales)
        found = {
            "receivable": sum(one.still_open for one in sales),
            "revenue": -sum(one.net - rounded(one.net * one.credited) for one in sales),
            "tax_payable": -sum(one.tax - rounded(one.tax * one.credited) for one in sales),
            "cash": sum(self.received.values()) - sum(self.refunded.values()) - self.paid_out,
            "unapplied_cash": -sum(self.unapplied(one) for one in self.received),
            "split_cost": theirs,
            "split_accrued": earned - theirs,
            "split_payable": -self.payable,
        }
        return {account: amount for account, amount in found.items() if amount}
