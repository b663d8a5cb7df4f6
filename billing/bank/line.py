"""BankLine: one line of our bank's statement, whatever file it came in."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from billing.cash.payment_errors import BankFileRefused
from billing.errors import CurrencyUnknown
from billing.money import Money, exponent

FILE_SIZE_MAX = 20 * 1024 * 1024
LINES_MAX = 100_000
TEXT_LENGTH_MAX = 1000
AMOUNT_MINOR_MAX = 10**15
_SPACE = re.compile(r"[\x00-\x20\x7f\s]+")
_DOTTED = re.compile(r"([0-9]{2})\.([0-9]{2})\.([0-9]{4})")
_AMOUNT = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{0,6})?")
_NO_REFERENCE = {"", "NONREF", "NOTPROVIDED", "NOT PROVIDED"}


@dataclass(frozen=True)
class BankLine:
    """account: ours. amount: in positive, out negative. charges: what the bank kept of it before.

    is_return: the bank says that it takes an earlier line back. Texts are cut and cleaned on birth.
    """

    account: str
    booked_on: date
    value_on: date
    amount: Money
    charges: Money
    counterparty_name: str = ""
    counterparty_account: str = ""
    remittance: str = ""
    end_to_end_id: str = ""
    bank_reference: str = ""
    is_return: bool = field(default=False)

    def __post_init__(self) -> None:
        for name in ("account", "counterparty_name", "remittance"):
            object.__setattr__(self, name, clean(getattr(self, name)))
        for name in ("counterparty_account", "end_to_end_id", "bank_reference"):
            text = clean(getattr(self, name))
            object.__setattr__(self, name, "" if text.upper() in _NO_REFERENCE else text)
        object.__setattr__(self, "counterparty_account", self.counterparty_account.replace(" ", ""))
        if not self.amount or abs(self.amount.amount_minor) > AMOUNT_MINOR_MAX:
            raise BankFileRefused(f"a line of {self.amount} is none that a bank writes")
        if self.charges.currency != self.amount.currency or self.charges.amount_minor < 0:
            raise BankFileRefused("the charges of a line are in its currency and not below zero")

    @property
    def identity(self) -> str:
        """What makes it this line: the bank's own reference where it gives one, else all that it says."""
        values: list[object] = [self.account, self.booked_on.isoformat(), self.amount.currency]
        values += [self.amount.amount_minor, self.end_to_end_id]
        values += (
            [self.bank_reference]
            if self.bank_reference
            else [
                self.value_on.isoformat(),
                self.counterparty_account,
                self.counterparty_name,
                self.remittance,
            ]
        )
        return json.dumps(values)


def digests(lines: Iterable[BankLine]) -> list[tuple[str, BankLine]]:
    """Each line with the digest that it is stored under.

    Two lines of a file may be the same in all they say (two transfers of one day): the second of them has
    another digest than the first, and the same one in every file that holds both.
    """
    seen: Counter[str] = Counter()
    found = []
    for line in lines:
        identity = line.identity
        seen[identity] += 1
        found.append((hashlib.sha256(f"{seen[identity]} {identity}".encode()).hexdigest(), line))
    return found


def clean(text: str | None) -> str:
    """One line of at most 1,000 characters; control characters and runs of blanks become a blank."""
    return _SPACE.sub(" ", text or "").strip()[:TEXT_LENGTH_MAX]


def money_of(text: str, currency: str) -> Money:
    """`1234.50`, exact; raises `BankFileRefused` for a currency that is none, and for more decimals than it has."""
    try:
        decimals = exponent(currency)
    except CurrencyUnknown as error:
        raise BankFileRefused(f"an amount in what is {error}") from None
    found = _AMOUNT.fullmatch(text.strip())
    minor = Decimal(found[0]).scaleb(decimals) if found else None
    if minor is None or minor != minor.to_integral_value() or abs(minor) > AMOUNT_MINOR_MAX:
        raise BankFileRefused(f"{text[:40]!r} is not an amount of {currency}")
    return Money(int(minor), currency)


def day_of(text: str) -> date:
    """`2026-12-31`, `20261231`, `2026/12/31` or `31.12.2026`, also with a time behind it."""
    words = text.split()
    first = words[0].split("T")[0] if words else ""
    dotted = _DOTTED.fullmatch(first)
    plain = "-".join(reversed(dotted.groups())) if dotted else first.replace("/", "-")
    try:
        return date.fromisoformat(plain[:10])
    except ValueError:
        raise BankFileRefused(f"{text[:40]!r} is not a date like 2026-12-31") from None


def require_balances(opening: Money | None, closing: Money | None, lines: Iterable[BankLine]) -> None:
    """Raise `BankFileRefused` where a statement's lines do not lead from its opening to its closing balance."""
    if opening is None or closing is None:
        return
    led_to = sum((line.amount for line in lines), opening)
    if led_to != closing:
        raise BankFileRefused(
            f"the lines lead from {opening} to {led_to}, the statement closes at {closing}: the file is "
            "cut or was changed; fetch it from the bank again"
        )
