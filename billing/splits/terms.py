"""Terms of a split: what it takes from, and who gets how much of it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

ZERO, ONE = Decimal(0), Decimal(1)
WEIGHT_DECIMALS_MAX = 8


class Basis(StrEnum):
    """When a share becomes payable."""

    BILLED = "billed"
    """As soon as the statement is issued."""
    COLLECTED = "collected"
    """In proportion to what the customer paid."""
    RESERVE = "reserve"
    """Never: it is put by for the day it is needed."""


class PayeeKind(StrEnum):
    PARTY = "party"
    POOL = "pool"
    """Whoever contributed in the period, by the weights in the contribution table."""
    PUBLISHER = "publisher"
    """Whoever published the model that the line is for."""


@dataclass(frozen=True)
class Payee:
    """kind, name: a party's id, a pool's name, or the publisher of each line (name empty)."""

    kind: PayeeKind
    name: str = ""


@dataclass(frozen=True)
class ShareTier:
    """share: fraction of every amount of the period, once its quantity lies in this tier.

    up_to: inclusive upper end in units; None for the last tier, which has none.
    """

    up_to: Decimal | None
    share: Decimal


@dataclass(frozen=True)
class Claim:
    """What one payee takes. Shares and fixed amounts come first; what they leave is divided by weight.

    tiers: a plain percentage is one tier without end. fixed: major units for each charged unit.
    cap: major units that the claim takes at most in a service period.
    guarantee: major units that the payee earns at least in a period. advance: major units paid beforehand,
    recouped before anything is payable.
    """

    payee: Payee
    tiers: tuple[ShareTier, ...] = ()
    fixed: Decimal | None = None
    weight: Decimal = ZERO
    cap: Decimal | None = None
    guarantee: Decimal | None = None
    advance: Decimal | None = None

    def share_at(self, quantity: Decimal) -> Decimal:
        """The fraction that applies when the period's quantity is `quantity`."""
        reached = (tier.share for tier in self.tiers if tier.up_to is None or quantity <= tier.up_to)
        return next(reached, ZERO)


@dataclass(frozen=True)
class Split:
    """One division of money. It covers a line that is in every list that is not empty.

    A split that gives to the publisher of a line covers lines of rates that name one.
    per_unit: major units for each charged unit that are divided instead of the line's amount (a reserve).
    """

    name: str
    basis: Basis
    claims: tuple[Claim, ...]
    products: frozenset[str] = frozenset()
    rates: frozenset[str] = frozenset()
    publishers: frozenset[str] = frozenset()
    per_unit: Decimal | None = None

    def covers(self, rate_id: str, product: str, publisher: str | None) -> bool:
        return (
            (not self.products or product in self.products)
            and (not self.rates or rate_id in self.rates)
            and (not self.publishers or publisher in self.publishers)
            and (publisher is not None or not self.needs_publisher)
        )

    @property
    def needs_publisher(self) -> bool:
        return any(claim.payee.kind is PayeeKind.PUBLISHER for claim in self.claims)

    @property
    def covers_all(self) -> bool:
        return not (self.products or self.rates or self.publishers or self.needs_publisher)

    @property
    def pools(self) -> tuple[str, ...]:
        return tuple(claim.payee.name for claim in self.claims if claim.payee.kind is PayeeKind.POOL)


@dataclass(frozen=True)
class LiabilityShare:
    """share: the fraction of a loss that `party` bears; printed on the statement."""

    party: str
    share: Decimal


def has_weight_form(weight: Decimal) -> bool:
    """Whether a weight has at most 8 decimals, as it is stored."""
    return -int(weight.normalize().as_tuple().exponent) <= WEIGHT_DECIMALS_MAX
