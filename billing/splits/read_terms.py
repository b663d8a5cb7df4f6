"""Reads the sections `splits` and `liability` of a contract; every problem is told with its line."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal
from fractions import Fraction

from billing.contracts.case_rules_terms import Bundle
from billing.contracts.rate_terms import Rate
from billing.contracts.yaml_reader import YamlMap, name_of
from billing.splits.terms import (
    ONE,
    WEIGHT_DECIMALS_MAX,
    ZERO,
    Basis,
    Claim,
    LiabilityShare,
    Payee,
    PayeeKind,
    ShareTier,
    Split,
    has_weight_form,
)

Priced = Rate | Bundle
"""What a line can stand under and a split can name."""


def read_splits(top: YamlMap, parties: Collection[str], rates: Sequence[Priced]) -> tuple[Split, ...]:
    """The section `splits`; empty where there is none.

    parties: the ids that the contract names.
    """
    if not top.has("splits"):
        return ()
    splits: list[Split] = []
    for source in top.maps("splits"):
        split = _split(source, parties, rates)
        if any(split.name == other.name for other in splits):
            source.problem("split", "has this name above already")
        hidden_by = next((other.name for other in splits if other.covers_all), None)
        if hidden_by:
            source.problem("split", f"is never reached: `{hidden_by}` above takes from every line")
        source.finish()
        splits.append(split)
    return tuple(splits)


def read_liability(top: YamlMap, parties: Collection[str]) -> tuple[tuple[LiabilityShare, ...], Split | None]:
    """The section `liability`: who bears which part of a loss, and the reserve that is put by for it."""
    if not top.has("liability"):
        return (), None
    source = top.map("liability")
    shares: list[LiabilityShare] = []
    for item in source.maps("shares"):
        share = LiabilityShare(item.text("party"), _fraction(item, "share"))
        _require_known(item, "party", share.party, parties)
        if any(share.party == other.party for other in shares):
            item.problem("party", "has a share above already")
        item.finish()
        shares.append(share)
    if shares and sum(Fraction(share.share) for share in shares) != 1:
        source.problem("shares", "must sum to 1")
    per_unit = source.decimal("reserve_per_case", default=ZERO)
    source.finish()
    claims = tuple(
        Claim(Payee(PayeeKind.PARTY, share.party), (ShareTier(None, share.share),)) for share in shares
    )
    reserve = Split("liability", Basis.RESERVE, claims, per_unit=per_unit) if per_unit else None
    return tuple(shares), reserve


def require_no_counting(top: YamlMap, splits: Sequence[Split], reserve: Split | None) -> None:
    """Of a case that several payers pay, each statement counts one: what depends on the count would come twice."""
    if any(claim.fixed is not None or len(claim.tiers) > 1 for split in splits for claim in split.claims):
        top.problem("splits", "by fixed amounts or by volume need a contract with one payer")
    if reserve:
        top.problem("liability", "with a reserve for each case needs a contract with one payer")


def _split(source: YamlMap, parties: Collection[str], rates: Sequence[Priced]) -> Split:
    products, rate_ids, publishers = _covered(source, rates)
    claims = tuple(_claim(item, parties) for item in source.maps("parties"))
    payees = [claim.payee for claim in claims]
    if len(set(payees)) < len(payees):
        source.problem("parties", "names one payee twice")
    _require_whole(source, claims)
    basis = Basis(source.one_of("basis", (Basis.BILLED, Basis.COLLECTED), default=Basis.COLLECTED))
    split = Split(name_of(source, "split"), basis, claims, products, rate_ids, publishers)
    if split.needs_publisher:
        _require_publishers(source, split, parties, rates)
    return split


def _require_publishers(
    source: YamlMap, split: Split, parties: Collection[str], rates: Sequence[Priced]
) -> None:
    """Rates that name a publisher name one, who is a party; there is at least one such rate."""
    named = [rate for rate in rates if rate.when.get("publisher")]
    if not named:
        source.problem("parties", "give a share to the publisher, and no rate has `when: {publisher: …}`")
    for rate in named:
        names = rate.when["publisher"]
        if split.covers(rate.id, rate.product, names[0]) and (len(names) > 1 or names[0] not in parties):
            source.problem(
                "parties",
                f"give a share to the publisher, and rate `{rate.id}` does not name one of the contract's parties",
            )


def _covered(
    source: YamlMap, rates: Sequence[Priced]
) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    if not source.has("of"):
        return frozenset(), frozenset(), frozenset()
    of = source.map("of")
    lists = {key: frozenset(of.texts(key)) for key in ("products", "rates", "publishers")}
    known = {
        "rates": {rate.id for rate in rates},
        "products": {rate.product for rate in rates},
        "publishers": {name for rate in rates for name in rate.when.get("publisher", ())},
    }
    for key, names in known.items():
        for unknown in sorted(lists[key] - names):
            of.problem(key, f"names `{unknown}`, which has no price in this contract")
    if not any(lists.values()):
        source.problem("of", "needs products, rates or publishers; leave `of` away to take from every line")
    of.finish()
    return lists["products"], lists["rates"], lists["publishers"]


def _claim(source: YamlMap, parties: Collection[str]) -> Claim:
    payee = _payee(source, parties)
    ways = [key for key in ("share", "tiers", "fixed", "weight", "residual") if source.has(key)]
    if len(ways) != 1:
        source.problem(ways[1] if ways else "party", "needs one of share, tiers, fixed, weight or residual")
    way = ways[0] if ways else ""
    claim = Claim(
        payee=payee,
        tiers=_tiers(source, way),
        fixed=source.decimal("fixed") if way == "fixed" else None,
        weight=_weight(source, way),
        cap=source.decimal("cap") if source.has("cap") else None,
        guarantee=source.decimal("guarantee") if source.has("guarantee") else None,
        advance=source.decimal("advance") if source.has("advance") else None,
    )
    if claim.cap is not None and claim.weight:
        source.problem("cap", "goes with share, tiers or fixed: the rest cannot be capped")
    for key, value in (("guarantee", claim.guarantee), ("advance", claim.advance)):
        if value is not None and payee.kind is not PayeeKind.PARTY:
            source.problem(key, "is promised to a party, not to a pool or a publisher")
    source.finish()
    return claim


def _payee(source: YamlMap, parties: Collection[str]) -> Payee:
    kinds = [kind for kind in PayeeKind if source.has(kind)]
    if len(kinds) != 1:
        source.problem(kinds[1] if kinds else "party", "names the payee: one of party, pool or publisher")
        return Payee(PayeeKind.PARTY)
    name = source.text(kinds[0])
    if kinds[0] is PayeeKind.PARTY:
        _require_known(source, "party", name, parties)
    if kinds[0] is PayeeKind.PUBLISHER:
        if name != "of_line":
            source.problem("publisher", "must be of_line: the publisher that the rate of the line names")
        return Payee(PayeeKind.PUBLISHER)
    return Payee(kinds[0], name)


def _tiers(source: YamlMap, way: str) -> tuple[ShareTier, ...]:
    if way == "share":
        return (ShareTier(None, _fraction(source, "share")),)
    tiers: list[ShareTier] = []
    if way != "tiers":
        return ()
    for item in source.maps("tiers"):
        up_to = item.decimal("up_to") if item.has("up_to") else None
        tiers.append(ShareTier(up_to, _fraction(item, "share")))
        item.finish()
    ends = [tier.up_to for tier in tiers]
    rising = [end for end in ends if end is not None]
    if tiers and (ends[-1] is not None or len(rising) != len(ends) - 1):
        source.problem("tiers", ": every tier but the last needs up_to, the last must not have one")
    elif rising != sorted(set(rising)) or ZERO in rising:
        source.problem("tiers", ": up_to must rise from tier to tier")
    return tuple(tiers)


def _weight(source: YamlMap, way: str) -> Decimal:
    if way == "residual":
        source.one_of("residual", ("true",))
        return ONE
    if way != "weight":
        return ZERO
    weight = source.decimal("weight", minimum=Decimal("0.00000001"))
    if not has_weight_form(weight):
        source.problem("weight", f"needs at most {WEIGHT_DECIMALS_MAX} decimals")
    return weight


def _require_whole(source: YamlMap, claims: tuple[Claim, ...]) -> None:
    """The claims divide everything and not more, whatever the quantity."""
    shares = [[Fraction(tier.share) for tier in claim.tiers] for claim in claims if claim.tiers]
    most, least = sum(map(max, shares), Fraction(0)), sum(map(min, shares), Fraction(0))
    if most > 1:
        source.problem("parties", f"take shares of more than 100 %: {', '.join(_shares_text(claims))}")
    is_open = any(claim.fixed is not None or claim.cap is not None for claim in claims)
    if claims and not any(claim.weight for claim in claims) and (is_open or not least == most == 1):
        source.problem("parties", "leave a rest that nobody takes: add `residual: true` to one of them")


def _shares_text(claims: tuple[Claim, ...]) -> list[str]:
    return [f"{max(tier.share for tier in claim.tiers) * 100:f} %" for claim in claims if claim.tiers]


def _fraction(source: YamlMap, key: str) -> Decimal:
    share = source.decimal(key)
    if share > 1:
        source.problem(key, "is a fraction: 0.30 for 30 %")
        return ZERO
    return share


def _require_known(source: YamlMap, key: str, name: str, parties: Collection[str]) -> None:
    if name and name not in parties:
        source.problem(key, f"is `{name}`, which is not among the contract's parties")
