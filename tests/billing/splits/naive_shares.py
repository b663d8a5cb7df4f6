"""A naive reference of shares: everything worked out anew from what happened, in the plainest way."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction


def rounded(value: Fraction) -> int:
    whole, rest = divmod(abs(value), 1)
    size = int(whole) + (1 if rest * 2 >= 1 else 0)
    return size if value >= 0 else -size


def divided(amount: int, parts: dict[str, Fraction]) -> dict[str, int]:
    """Round exact parts down in size, then hand what is left out one by one, the largest remainder first."""
    sign = -1 if amount < 0 else 1
    exact = {name: part * sign for name, part in parts.items()}
    given = {name: int(part // 1) for name, part in exact.items()}
    for name in sorted(exact, key=lambda name: (-(exact[name] - given[name]), name)):
        if sum(given.values()) < amount * sign:
            given[name] += 1
    return {name: part * sign for name, part in given.items()}


@dataclass
class Terms:
    """The developer's share by volume, with its cap; what is left goes by weight."""

    up_to: int
    low: Fraction
    high: Fraction
    cap: int
    weights: dict[str, Fraction]
    is_billed: bool

    def shares(self, cases: int, amount: int) -> dict[str, int]:
        taken = rounded(amount * (self.low if cases <= self.up_to else self.high))
        taken = max(-self.cap, min(self.cap, taken))
        rest, total = amount - taken, sum(self.weights.values())
        by_weight = {name: rest * weight / total for name, weight in self.weights.items()}
        return divided(amount, {"dev-a": Fraction(taken), **by_weight})


@dataclass
class Line:
    service: int
    amount: int
    tax: int
    shares: dict[str, int]
    credited: Fraction = Fraction(0)

    def state(self, collected: Fraction) -> dict[str, tuple[int, int, int]]:
        """Party → accrued, taken back, payable (the seller's own part is never payable)."""
        back = divided(
            rounded(self.amount * self.credited), {p: a * self.credited for p, a in self.shares.items()}
        )
        return {
            party: (
                part,
                back[party],
                0 if party == "radmeter-imaging" else rounded((part - back[party]) * collected),
            )
            for party, part in self.shares.items()
        }


@dataclass
class Bill:
    statement_id: int
    lines: list[Line]
    paid: int = 0

    @property
    def due(self) -> int:
        owed = sum(line.amount + line.tax for line in self.lines)
        return owed - sum(rounded(x.amount * x.credited) + rounded(x.tax * x.credited) for x in self.lines)


@dataclass
class Reference:
    """cases: all delivered by month, known to billing. bills: in the order of issue."""

    terms: Terms
    price: int
    cases: dict[int, int] = field(default_factory=dict)
    bills: list[Bill] = field(default_factory=list)

    def shares_of(self, month: int) -> dict[str, int]:
        """What a line for this month gets: a full division of the month, less what earlier lines got."""
        cases = self.cases.get(month, 0)
        due = self.terms.shares(cases, cases * self.price)
        for bill in self.bills:
            for line in bill.lines:
                if line.service == month:
                    due = {party: due[party] - line.shares[party] for party in due}
        return due

    def collected(self, bill: Bill) -> Fraction:
        if self.terms.is_billed or bill.due <= 0:
            return Fraction(1)
        return min(Fraction(1), Fraction(bill.paid, bill.due))
