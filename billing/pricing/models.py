"""The pricing models by the name that a contract gives them. A new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable

from billing.pricing.flat import Flat
from billing.pricing.graduated import Graduated
from billing.pricing.package import Package
from billing.pricing.per_unit import PerUnit
from billing.pricing.volume import Volume
from billing.yaml_reader import YamlMap

Pricing = PerUnit | Flat | Graduated | Volume | Package
READERS: dict[str, Callable[[YamlMap], Pricing]] = {
    "per_unit": PerUnit.read,
    "flat": Flat.read,
    "graduated": Graduated.read,
    "volume": Volume.read,
    "package": Package.read,
}


def read(source: YamlMap) -> Pricing:
    """The `price` of a rate."""
    pricing = READERS[source.one_of("model", tuple(READERS))](source)
    source.finish()
    return pricing
