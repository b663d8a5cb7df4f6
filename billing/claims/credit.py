"""Credit: how much of a line is taken back, exact however many parts it is taken back in.

The fraction credited so far decides: a further part brings it to F, and what the line gives back is
round(line × F) less what it gave back before, for its amount and its tax alike. So the parts never exceed the
line, and equal it exactly once F is 1. Lines may be negative; everything mirrors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from billing.money import allocate, round_half_away_from_zero
from billing.statements.document_errors import CreditExceedsLine

Share = Fraction | int | None
"""What is asked for: a fraction of the whole line, an amount before tax in minor units, or None: the rest."""


@dataclass(frozen=True)
class Credited:
    """What was taken back of one line of `amount_minor` and, on top, `tax_minor`, up to and with the last note.

    credited_amount, credited_tax: minor units, of the line's sign. fraction: of the line, 0 to 1.
    """

    number: int
    amount_minor: int
    tax_minor: int
    fraction: Fraction = Fraction(0)
    credited_amount: int = 0
    credited_tax: int = 0

    @property
    def rest(self) -> int:
        """What is left of amount and tax together."""
        return self.amount_minor + self.tax_minor - self.credited_amount - self.credited_tax

    def by(self, share: Share) -> Credited:
        """Take back a further share. Raises `CreditExceedsLine`."""
        if isinstance(share, int):
            return self.by_amount(share)
        return self.by_fraction(1 - self.fraction if share is None else share)

    def by_fraction(self, part: Fraction) -> Credited:
        """Take back a further `part` of the whole line."""
        if not 0 < part <= 1 - self.fraction:
            raise CreditExceedsLine(self.number, f"{1 - self.fraction} of it")
        return self._at(self.fraction + part)

    def by_amount(self, amount_minor: int) -> Credited:
        """Take back a further amount before tax, of the line's sign; the tax follows in proportion."""
        left = self.amount_minor - self.credited_amount
        if not left or not 0 < Fraction(amount_minor, left) <= 1:
            raise CreditExceedsLine(self.number, f"{left} minor units before tax")
        return self._at(Fraction(self.credited_amount + amount_minor, self.amount_minor))

    def by_total(self, total_minor: int) -> Credited:
        """Take back a further amount with its tax in it; the two together are exact."""
        if not self.rest or not 0 < Fraction(total_minor, self.rest) <= 1:
            raise CreditExceedsLine(self.number, f"{self.rest} minor units with tax")
        credited = self.credited_amount + self.credited_tax + total_minor
        reached = self._at(Fraction(credited, self.amount_minor + self.tax_minor))
        return self._with(reached.fraction, reached.credited_amount, credited - reached.credited_amount)

    def _at(self, fraction: Fraction) -> Credited:
        amount = round_half_away_from_zero(self.amount_minor * fraction)
        return self._with(fraction, amount, round_half_away_from_zero(self.tax_minor * fraction))

    def _with(self, fraction: Fraction, amount: int, tax: int) -> Credited:
        return Credited(self.number, self.amount_minor, self.tax_minor, fraction, amount, tax)


def share_out(lines: Sequence[Credited], total_minor: int) -> list[Credited]:
    """Take back `total_minor`, tax included, from charges in proportion to what is left of each.

    Largest remainder, ties to the lower line. Lines that get nothing are left out.
    """
    open_lines = [line for line in lines if line.rest > 0]
    left = sum(line.rest for line in open_lines)
    if not 0 < total_minor <= left:
        raise CreditExceedsLine(None, f"{left} minor units with tax")
    weights = [Fraction(line.rest) for line in open_lines]
    parts = allocate(total_minor, weights, [f"{line.number:09d}" for line in open_lines])
    return [line.by_total(part) for line, part in zip(open_lines, parts, strict=True) if part]
