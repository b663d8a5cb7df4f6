"""The sections `prepaid`, `budgets` and `quotas` of a contract: packages that are paid first, and how much may run."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from billing.contracts.yaml_reader import YamlMap
from billing.metering.usage import CALL_PRODUCT, TEXT_LENGTH_MAX
from billing.money import EXPONENTS
from billing.period import anchor_in, local_midnight

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_LARGEST = Decimal(10) ** 12
SCOPES = ("site", "department", "sending_peer", "product", "api_key")
PERS = ("day", "month", "term")
OWNERS = ("contract", "member")
WHEN_EMPTY = ("charge", "wait", "refuse")
WHEN_REACHED = ("alert", "wait", "refuse")
THRESHOLDS = ("50", "80", "100")


@dataclass(frozen=True)
class Package:
    """Uses or money that are paid first and taken from until they are used up or expire.

    sold_by: the product whose usage event is a purchase; its line on the statement is a prepayment.
    owner: whose balance it is: the contract's, or that of the event's `member`.
    in_money: `quantity` and `takes` are minor units of the contract's currency, else units of their own.
    quantity: in one package. takes: by product, what one unit of it takes.
    valid_days, valid_months: from the day of the purchase; one of them is given.
    priority: a lower one is taken first; within it the soonest expiry.
    owe_up_to: units that may run before the next purchase, which pays them first.
    when_empty: `charge` by the rate of the product, `wait` for the next purchase where the work can wait, or `refuse`
        calls of the API.
    """

    id: str
    sold_by: str
    owner: str
    in_money: bool
    quantity: Decimal
    takes: Mapping[str, Decimal]
    valid_days: int | None
    valid_months: int | None
    priority: int = 0
    owe_up_to: Decimal = Decimal(0)
    when_empty: str = "charge"

    def expiry_of(self, bought_at: datetime, time_zone: str) -> datetime:
        """Local midnight that ends a package bought at this instant."""
        day = bought_at.astimezone(ZoneInfo(time_zone)).date()
        if self.valid_days is not None:
            return local_midnight(day + timedelta(days=self.valid_days), time_zone)
        assert self.valid_months is not None, "one of the two is read"
        months = day.year * 12 + day.month - 1 + self.valid_months
        return local_midnight(anchor_in(months // 12, months % 12 + 1, day.day), time_zone)


@dataclass(frozen=True)
class Limit:
    """How much may run before somebody is told, or work that can wait waits.

    bound: units for a quota; minor units of the contract's currency, before tax, for a budget.
    scope: dimension → value; usage that has all of them counts. per: local day, billing month, or the whole term.
    thresholds: percent of the bound, ascending, that alert once each in every window.
    when_reached: `alert` only; `wait`: elective work waits, urgent work runs and is flagged; `refuse`: calls of the
        API are refused.
    """

    id: str
    in_money: bool
    bound: Decimal
    scope: Mapping[str, str]
    per: str
    thresholds: tuple[int, ...]
    when_reached: str

    def covers(self, dimensions: Mapping[str, str]) -> bool:
        return all(dimensions.get(name) == value for name, value in self.scope.items())


@dataclass(frozen=True)
class LimitsTerms:
    """What a contract says about prepayment and limits."""

    packages: tuple[Package, ...] = ()
    limits: tuple[Limit, ...] = ()

    @property
    def prepaid_products(self) -> frozenset[str]:
        """Products whose lines are prepayments."""
        return frozenset(package.sold_by for package in self.packages)

    @property
    def products_of_packages(self) -> frozenset[str]:
        """Products that a package is sold by or taken for."""
        return self.prepaid_products.union(*(package.takes for package in self.packages))

    def sold_by(self, product: str) -> Package | None:
        return next((one for one in self.packages if one.sold_by == product), None)

    def taken_for(self, product: str) -> tuple[Package, ...]:
        """Packages that a use of the product takes from, in the order in which they are asked."""
        return tuple(sorted((one for one in self.packages if product in one.takes), key=_order))

    def limit(self, limit_id: str) -> Limit | None:
        return next((one for one in self.limits if one.id == limit_id), None)


NO_LIMITS = LimitsTerms()


def _order(package: Package) -> tuple[int, str]:
    return package.priority, package.id


def read(top: YamlMap, products: Collection[str], currency: str) -> LimitsTerms:
    """The three sections; each may be absent. products: those that have a rate."""
    packages = _packages(top, products, currency) if top.has("prepaid") else ()
    limits = [
        *(_limits(top, "budgets", "amount", products, currency) if top.has("budgets") else ()),
        *(_limits(top, "quotas", "units", products, currency) if top.has("quotas") else ()),
    ]
    ids = [limit.id for limit in limits]
    for twice in sorted({one for one in ids if ids.count(one) > 1}):
        top.problem(
            "quotas" if top.has("quotas") else "budgets", f"has `{twice}` twice; each needs its own id"
        )
    return LimitsTerms(packages, tuple(limits))


def _packages(top: YamlMap, products: Collection[str], currency: str) -> tuple[Package, ...]:
    packages: list[Package] = []
    for source in top.maps("prepaid"):
        in_money = source.one_of("unit", ("uses", "money"), default="uses") == "money"
        has_days, has_months = source.has("valid_days"), source.has("valid_months")
        if has_days == has_months:
            source.problem("id", "needs either `valid_days` or `valid_months`")
        package = Package(
            id=_id(source),
            sold_by=_product(source, "sold_by", products),
            owner=source.one_of("owner", OWNERS, default="contract"),
            in_money=in_money,
            quantity=_amount(source, "quantity", in_money, currency),
            takes=_takes(source, in_money, products, currency),
            valid_days=source.integer("valid_days", 1, 3660) if has_days else None,
            valid_months=source.integer("valid_months", 1, 120) if has_months else None,
            priority=source.integer("priority", 0, 1000, default=0),
            owe_up_to=_amount(source, "owe_up_to", in_money, currency)
            if source.has("owe_up_to")
            else Decimal(0),
            when_empty=source.one_of("when_empty", WHEN_EMPTY, default="charge"),
        )
        if package.sold_by in package.takes:
            source.problem("takes", "cannot take from the package for its own purchase")
        if any(package.id == other.id for other in packages):
            source.problem("id", "is used above already")
        if any(package.sold_by == other.sold_by for other in packages):
            source.problem("sold_by", "sells another package above already")
        if package.when_empty == "refuse" and (
            package.owner != "contract" or set(package.takes) != {CALL_PRODUCT}
        ):
            source.problem(
                "when_empty",
                f"`refuse` is for calls of the API: it needs `owner: contract`, and takes `{CALL_PRODUCT}` alone",
            )
        source.finish()
        packages.append(package)
    return tuple(packages)


def _takes(source: YamlMap, in_money: bool, products: Collection[str], currency: str) -> dict[str, Decimal]:
    takes: dict[str, Decimal] = {}
    for item in source.maps("takes"):
        product = _product(item, "product", products)
        if product in takes:
            item.problem("product", "is listed above already")
        takes[product] = _amount(item, "units", in_money, currency)
        item.finish()
    return takes


def _limits(top: YamlMap, section: str, key: str, products: Collection[str], currency: str) -> list[Limit]:
    limits = []
    for source in top.maps(section):
        in_money = section == "budgets"
        limits.append(
            Limit(
                id=_id(source),
                in_money=in_money,
                bound=_amount(source, key, in_money, currency),
                scope=_scope(source, products),
                per=source.one_of("per", PERS, default="month"),
                thresholds=_thresholds(source),
                when_reached=source.one_of("when_reached", WHEN_REACHED, default="alert"),
            )
        )
        _require_calls(source, limits[-1], products)
        source.finish()
    return limits


def _require_calls(source: YamlMap, limit: Limit, products: Collection[str]) -> None:
    """Only calls can be refused: a study waits, and what has happened is recorded."""
    if limit.when_reached != "refuse":
        return
    if CALL_PRODUCT not in products:
        source.problem(
            "when_reached",
            f"`refuse` is for calls of the API: give the product `{CALL_PRODUCT}` a rate first",
        )
    elif limit.scope.get("product", CALL_PRODUCT) != CALL_PRODUCT or not limit.scope.keys() & {
        "product",
        "api_key",
    }:
        source.problem(
            "when_reached",
            f"`refuse` is for calls of the API: `for` needs `product: {CALL_PRODUCT}` or `api_key`; studies can `wait`",
        )


def _scope(source: YamlMap, products: Collection[str]) -> dict[str, str]:
    """What the limit is for; everything under the contract where nothing is named."""
    if not source.has("for"):
        return {}
    scope = source.map("for")
    values = {name: scope.text(name) for name in SCOPES if scope.has(name)}
    if "product" in values and values["product"] not in products:
        scope.problem("product", "has no rate in this contract")
    for name, value in values.items():
        if len(value) > TEXT_LENGTH_MAX:
            scope.problem(name, f"is longer than {TEXT_LENGTH_MAX} characters")
    scope.finish()
    return values


def _thresholds(source: YamlMap) -> tuple[int, ...]:
    texts = source.texts("alerts") or THRESHOLDS
    if not all(one.isascii() and one.isdigit() and 0 < int(one) <= 1000 for one in texts) or len(texts) > 10:
        source.problem("alerts", "needs at most ten whole percentages like [50, 80, 100]")
        return ()
    return tuple(sorted({int(one) for one in texts}))


def _id(source: YamlMap) -> str:
    text = source.text("id")
    if text and not _ID.fullmatch(text):
        source.problem("id", "needs lower-case letters, digits, - and _, at most 64")
    return text


def _product(source: YamlMap, key: str, products: Collection[str]) -> str:
    product = source.text(key)
    if product and product not in products:
        source.problem(key, "has no rate in this contract")
    return product


def _amount(source: YamlMap, key: str, in_money: bool, currency: str) -> Decimal:
    """Above zero; money as a whole number of minor units."""
    value = source.decimal(key, minimum=Decimal("0.000001"))
    if value > _LARGEST:
        source.problem(key, f"needs a number of at most {_LARGEST:f}")
        return Decimal(1)
    scaled = value.scaleb(EXPONENTS.get(currency, 2)) if in_money else value.scaleb(6)
    if scaled != scaled.to_integral_value():
        source.problem(key, f"has more decimals than {currency if in_money else 'the six of a quantity'}")
    return scaled.to_integral_value() if in_money else value
