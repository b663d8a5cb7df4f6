"""The pricing models by the name that a contract gives them. A new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from billing.contracts.party_terms import Party
from billing.contracts.yaml_reader import YamlMap
from billing.pricing.flat import Flat
from billing.pricing.graduated import Graduated
from billing.pricing.package import Package
from billing.pricing.per_unit import PerUnit
from billing.pricing.percentage import Percentage
from billing.pricing.subscription import Subscription
from billing.pricing.volume import Volume

Pricing = PerUnit | Flat | Graduated | Volume | Package | Percentage | Subscription
READERS: dict[str, Callable[[YamlMap], Pricing]] = {
    "per_unit": PerUnit.read,
    "flat": Flat.read,
    "graduated": Graduated.read,
    "volume": Volume.read,
    "package": Package.read,
    "percentage": Percentage.read,
    "dynamic": Percentage.read_dynamic,
}
SUBSCRIPTION = "subscription"


def read(source: YamlMap, parties: Mapping[str, Party]) -> Pricing:
    """The `price` of a rate. parties: by id, the buyer first."""
    model = source.one_of("model", (*READERS, SUBSCRIPTION))
    pricing = Subscription.read(source, parties) if model == SUBSCRIPTION else READERS[model](source)
    source.finish()
    return pricing
