"""Reads lines, amounts and days from the command line; what cannot be read is told."""

from __future__ import annotations

from datetime import date
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from billing.claims.credit import Share
from billing.money import Money, exponent
from server.errors import CommandFailed


def parse_line(text: str, currency: str) -> tuple[int, Share]:
    """`3`: the rest of line 3; `3=1/3`: a third of it; `3=100.00`: so much of it before tax."""
    number, _, share = text.partition("=")
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise CommandFailed(f"{text!r}: begin with the line's number, like 3, 3=1/3 or 3=100.00")
    if "/" in share:
        return int(number), _fraction(share)
    return int(number), parse_money(share, currency).amount_minor if share else None


def parse_money(text: str, currency: str) -> Money:
    """An amount in major units that the currency can hold exactly."""
    try:
        minor = Decimal(text if len(text) < 20 else "NaN").scaleb(exponent(currency))
    except InvalidOperation:
        minor = Decimal("NaN")
    if not minor.is_finite() or minor != minor.to_integral_value():
        raise CommandFailed(
            f"{text!r} is not an amount of {currency} with at most {exponent(currency)} decimals"
        )
    return Money(int(minor), currency)


def parse_day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CommandFailed(f"{text!r} is not a day, YYYY-MM-DD") from None


def _fraction(text: str) -> Fraction:
    try:
        return Fraction(text) if len(text) < 20 else Fraction(0)
    except (ValueError, ZeroDivisionError):
        raise CommandFailed(f"{text!r} is not a fraction like 1/3") from None
