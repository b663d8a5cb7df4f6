"""Commitments: the least and the most that a contract's rates come to in a period or in a term."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from billing.contracts.rate_terms import Rate, by_language
from billing.contracts.yaml_reader import YamlMap, name_of

UNIT = {"en": "commitment", "zh": "承诺"}


@dataclass(frozen=True)
class Commitment:
    """minimum, maximum: major units, tax excluded; None: no limit. rates: ids of the rates that count towards it.

    is_per_term: the minimum is made up in the last period of the term; the maximum holds from its first on.
    """

    id: str
    title: Mapping[str, str]
    minimum: Decimal | None
    maximum: Decimal | None
    rates: frozenset[str]
    is_per_term: bool = False

    @property
    def product(self) -> str:
        return self.id

    @property
    def unit(self) -> Mapping[str, str]:
        return UNIT


def read(top: YamlMap, rates: tuple[Rate, ...]) -> tuple[Commitment, ...]:
    """`commitments`; ids are unlike those of the rates, since both name lines."""
    known = {rate.id for rate in rates}
    commitments: list[Commitment] = []
    for source in top.maps("commitments", is_required=False):
        chosen = source.texts("rates")
        for rate_id in chosen:
            if rate_id not in known:
                source.problem("rates", f"names no rate: {rate_id}")
        commitment = Commitment(
            id=name_of(source, "id"),
            title=by_language(source, "title"),
            minimum=source.decimal("minimum") if source.has("minimum") else None,
            maximum=source.decimal("maximum") if source.has("maximum") else None,
            rates=frozenset(chosen) or frozenset(known),
            is_per_term=source.one_of("over", ("period", "term"), default="period") == "term",
        )
        if commitment.minimum is None and commitment.maximum is None:
            source.problem("id", "needs a `minimum` or a `maximum`")
        if commitment.minimum and commitment.maximum and commitment.minimum > commitment.maximum:
            source.problem("minimum", "is above the maximum")
        if commitment.id in known | {other.id for other in commitments}:
            source.problem("id", "names a rate or a commitment already")
        source.finish()
        commitments.append(commitment)
    return tuple(commitments)
