"""Whether the rates of a contract price every event exactly once: no gap, no rate that nothing reaches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from itertools import product as combinations
from math import prod

from billing.contracts.rate_terms import Rate, takers
from billing.period import is_period_start

COMBINATIONS_MAX = 20_000
_OTHER = ""  # any value that no filter names, or none


def problems(rates: tuple[Rate, ...], first_day: date, anchor_day: int) -> Iterator[tuple[int, str]]:
    """(position of the rate, sentence) for each gap and each rate that is never reached."""
    for number, rate in enumerate(rates):
        yield from ((number, problem) for problem in _date_problems(rate, anchor_day))
    for product, meter in dict.fromkeys((rate.product, rate.meter) for rate in rates):
        own = takers(rates, product, meter)
        values = {name: _values(own, name) for name in sorted({name for rate in own for name in rate.when})}
        if prod(len(options) for options in values.values()) > COMBINATIONS_MAX:
            too_many = f"the filters of {product} name more than {COMBINATIONS_MAX} combinations"
            yield rates.index(own[0]), too_many
            continue
        for rate, problem in _cover_problems(product, own, values, first_day):
            yield rates.index(rate), problem


def _date_problems(rate: Rate, anchor_day: int) -> Iterator[str]:
    for word, day in (("from", rate.starts_on), ("until", rate.ends_before)):
        if day is not None and not is_period_start(day, anchor_day):
            yield f"`{word}` of {rate.id} must be the first day of a period"
    if rate.starts_on and rate.ends_before and rate.ends_before <= rate.starts_on:
        yield f"`until` of {rate.id} must be later than `from`"


def _values(rates: Iterable[Rate], name: str) -> list[str]:
    return [*dict.fromkeys(value for rate in rates for value in rate.when.get(name, ())), _OTHER]


def _cover_problems(
    product: str, rates: tuple[Rate, ...], values: Mapping[str, list[str]], first_day: date
) -> Iterator[tuple[Rate, str]]:
    reached: set[str] = set()
    gap: tuple[date, dict[str, str]] | None = None
    days = {day for rate in rates for day in (rate.starts_on, rate.ends_before) if day}
    for day in sorted({first_day, *(day for day in days if day > first_day)}):
        for chosen in combinations(*values.values()):
            dimensions = dict(zip(values, chosen, strict=True))
            found = next((rate for rate in rates if rate.is_in_force(day) and rate.matches(dimensions)), None)
            if found is not None:
                reached.add(found.id)
            elif gap is None:
                gap = (day, dimensions)
    if gap is not None:
        yield rates[-1], _gap_text(product, *gap)
    for rate in rates:
        if rate.id not in reached:
            yield rate, f"no event ever reaches rate {rate.id}: rates above it take them all"


def _gap_text(product: str, day: date, dimensions: Mapping[str, str]) -> str:
    told = [f"{name}={value or '(any other)'}" for name, value in dimensions.items()]
    where = f" for {', '.join(told)}" if told else ""
    return f"no rate of {product}{where} from {day} on: add one without `when` below the others, or dates that meet"
