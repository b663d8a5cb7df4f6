"""The parties of a contract: who sells, who buys, and everyone else whom a price, a share or a payment names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from billing.contracts.yaml_reader import YamlMap, name_of

ROLES = (
    "site",
    "department",
    "payer",
    "insurer",
    "sponsor",
    "developer",
    "contributor",
    "annotator",
    "platform",
    "vendor",
)
_PREFIX = re.compile(r"[A-Z0-9]{1,12}")
_FACT = re.compile(r"[a-z][a-z0-9_]{0,40}")


@dataclass(frozen=True)
class Party:
    """A legal entity or a part of one, as a contract names and prints it.

    id: names it within the tenant; statement numbers run per seller id.
    role: one of `ROLES`; empty for the seller and the buyer.
    facts: what a price may depend on and an event need not say, for example `grade` or `beds`.
    """

    id: str
    name: str
    address: tuple[str, ...] = ()
    tax_id: str = ""
    bank_details: tuple[str, ...] = ()
    number_prefix: str = "ST"
    role: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


def read_side(top: YamlMap, key: str, is_seller: bool) -> Party:
    """The seller or the buyer."""
    source = top.map(key)
    prefix = source.text("number_prefix", "ST") if is_seller else ""
    if is_seller and not _PREFIX.fullmatch(prefix):
        source.problem("number_prefix", "needs 1 to 12 capital letters and digits")
    return _party(source, prefix, "", has_bank=is_seller)


def read(top: YamlMap, sides: tuple[Party, ...]) -> tuple[Party, ...]:
    """`parties`: the others. A party has one id in a contract, the seller and the buyer included."""
    parties: list[Party] = []
    for source in top.maps("parties", is_required=False):
        role = source.one_of("role", ROLES)
        party = _party(source, "", role, has_bank=True)
        if any(party.id == other.id for other in (*sides, *parties)):
            source.problem("id", "names a party above already")
        parties.append(party)
    return tuple(parties)


def _party(source: YamlMap, prefix: str, role: str, has_bank: bool) -> Party:
    party = Party(
        id=name_of(source, "id"),
        name=source.text("name"),
        address=source.texts("address"),
        tax_id=source.text("tax_id", ""),
        bank_details=source.texts("bank_details") if has_bank else (),
        number_prefix=prefix,
        role=role,
        facts=_facts(source),
    )
    source.finish()
    return party


def _facts(source: YamlMap) -> dict[str, str]:
    if not source.has("facts"):
        return {}
    facts = source.map("facts")
    for name in facts.names:
        if not _FACT.fullmatch(name):
            facts.problem(name, "needs lower-case letters, digits and _, at most 41")
    return {name: facts.text(name) for name in facts.names}
