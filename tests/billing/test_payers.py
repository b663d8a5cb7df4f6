"""Several payers and many sites of one contract: statements that are one rating, also after late usage."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from billing.books import ledger
from billing.contracts import store
from billing.metering import meter
from billing.metering.usage import UsageEvent
from billing.money import Money
from billing.rating import aggregate, shares, sites
from billing.rating.case_errors import SiteNotFound
from billing.rating.rate_stored import Rater
from billing.statements import paper_print, share_paper, statement
from billing.statements.statement_record import Statement

TENANT = "hospital-a"
NEW_YEAR = datetime(2027, 1, 2, tzinfo=UTC)
MakeEvent = Callable[..., UsageEvent]
TEXT = """
contract: shared
seller: {id: vendor, name: Vendor}
buyer: {id: insurer, name: Insurer}
parties:
  - {id: members, name: Members, role: payer}
  - {id: state, name: State, role: payer}
  - {id: site-a, name: Site A, role: site}
currency: CNY
time_zone: Asia/Shanghai
effective_from: 2026-02-01
tax: {name: VAT, rate: 0.06}
rates:
  - product: ct
    title: {en: CT, zh: CT}
    unit: {en: case, zh: 例}
    price:
      model: volume
      tiers: [{up_to: 9, unit_price: 33.33}, {unit_price: 20.01}]
  - product: cad
    title: {en: CAD, zh: CAD}
    unit: {en: case, zh: 例}
    price: {model: per_unit, unit_price: 7.77}
  - product: fee
    title: {en: Fee, zh: 费}
    unit: {en: month, zh: 月}
    price: {model: flat, amount: 0.07}
case_rules:
  - {id: add-on, kind: requires_primary, products: [cad], primary: [ct]}
  - {id: again, kind: sequence_discount, products: [cad], fractions: [1, 0.5]}
payers:
  - when: {payer_class: thirds}
    shares: {insurer: 1, members: 1, state: 1}
  - when: {payer_class: copay}
    copay: {payer: members, per_case: 3.33}
    residual: insurer
  - shares: {insurer: 1}
site_statements: {by: department}
"""


@pytest.fixture
def contract_id(transact) -> int:
    with transact() as conn:
        return store.add_contract(conn, TENANT, TEXT)


def record(transact, *events: UsageEvent) -> None:
    with transact() as conn:
        for event in events:
            meter.record(conn, event, received_at=NEW_YEAR)


def issue(transact, contract_id: int, month: int) -> tuple[Statement, ...]:
    with transact() as conn:
        at = datetime(2026, month, 20, tzinfo=UTC)
        return statement.issue_all(conn, TENANT, contract_id, at, now=NEW_YEAR)


def delivered(
    make_event: MakeEvent, number: int, month: int = 2, product: str = "ct", **said: str
) -> UsageEvent:
    at = datetime(2026, month, 10, tzinfo=UTC) + timedelta(minutes=number)
    told = {name: value for name, value in said.items() if value}
    return make_event(number, product=product, occurred_at=at, dimensions=told)


def test_each_payer_has_a_number_a_tax_and_a_receivable(
    transact, owner, contract_id: int, make_event
) -> None:
    record(
        transact,
        delivered(make_event, 1, payer_class="thirds"),
        delivered(make_event, 2, payer_class="copay"),
    )
    issued = issue(transact, contract_id, 2)
    assert [(one.payer.id, str(one.subtotal), str(one.tax)) for one in issued] == [
        ("insurer", "41.18", "2.47"),
        ("members", "14.44", "0.87"),
        ("state", "11.11", "0.67"),
    ]
    assert [one.number for one in issued] == [f"ST-HOSPITAL-A-{n:06d}" for n in (1, 2, 3)]
    receivables = owner.execute(
        "SELECT account, amount_minor FROM billing.posting WHERE account ~ '^receivable'"
    )
    assert {row["account"].split(":")[1]: row["amount_minor"] for row in receivables} == {
        one.payer.id: one.total.amount_minor for one in issued
    }
    with transact() as conn:
        assert ledger.check(conn, TENANT) == []
        assert statement.drafts(conn, TENANT, contract_id, datetime(2026, 2, 20, tzinfo=UTC)) == issued
        assert statement.issue(conn, TENANT, contract_id, datetime(2026, 2, 20, tzinfo=UTC)) == issued[0]
        shown = {one.payer.id: store.usage_of_statement(conn, TENANT, one) for one in issued}
    cases = {payer: [case.event.case_key for case in behind] for payer, behind in shown.items()}
    assert cases == {"insurer": ["case-1", "case-2"], "members": ["case-1", "case-2"], "state": ["case-1"]}


def test_who_owes_nothing_gets_no_statement(transact, contract_id: int, make_event) -> None:
    record(transact, delivered(make_event, 1))
    assert [one.payer.id for one in issue(transact, contract_id, 2)] == ["insurer"]
    assert [one.payer.id for one in issue(transact, contract_id, 3)] == ["insurer"], "the fee has a payer"


def test_payers_who_do_not_sum_to_the_line_are_refused(transact, contract_id: int, make_event) -> None:
    record(transact, delivered(make_event, 1, payer_class="thirds"))
    issue(transact, contract_id, 2)
    unequal = (
        "INSERT INTO billing.shared_line (tenant, contract_id, period_start, line_key, service_start, amount_minor) "
        "VALUES (%s, %s, '2026-02-01', 'ct/other', '2026-02-01', 1)"
    )
    with pytest.raises(psycopg.errors.CheckViolation, match="must owe together"), transact() as conn:
        conn.execute(unequal, (TENANT, contract_id))


def test_an_issued_statement_takes_no_more_sites(transact, contract_id: int, make_event) -> None:
    record(transact, delivered(make_event, 1, site="site-a"))
    [issued] = issue(transact, contract_id, 2)
    more = (
        "INSERT INTO billing.statement_site (tenant, statement_id, line_number, site, department, quantity, "
        "amount_minor, tax_minor) VALUES (%s, %s, 1, 'site-z', '', 1, 0, 0)"
    )
    with pytest.raises(psycopg.errors.RestrictViolation, match="takes nothing more"), transact() as conn:
        conn.execute(more, (TENANT, issued.statement_id))


def test_a_site_sees_its_part_and_a_stranger_nothing(transact, contract_id: int, make_event) -> None:
    cases = [
        delivered(make_event, 1, site="site-a", department="=cmd|calc"),
        delivered(make_event, 2, site="site-a"),
        delivered(make_event, 3, site="site-b"),
    ]
    record(transact, *cases)
    [issued] = issue(transact, contract_id, 2)
    with transact() as conn:
        shown = sites.of_statement(conn, TENANT, issued.statement_id or 0)
        assert [(one.site, one.name, str(one.amount)) for one in shown] == [
            ("site-a", "Site A", "66.71"),
            ("site-b", "site-b", "33.35"),
        ]
        assert sum((one.total.amount_minor for one in shown), 0) == issued.total.amount_minor
        assert sites.of_site(conn, TENANT, issued.statement_id or 0, "site-b") == shown[1]
        with pytest.raises(SiteNotFound, match="no part for site 'site-c'"):
            sites.of_site(conn, TENANT, issued.statement_id or 0, "site-c")
    csv = paper_print.to_csv(share_paper.site_paper(shown[0], "en")).decode("utf-8-sig")
    assert '"\'=cmd|calc"' in csv
    assert "Site A" in paper_print.to_html(share_paper.site_paper(shown[0], "zh"))


@pytest.mark.parametrize("seed", range(3))
def test_whatever_comes_late_payers_and_sites_end_at_one_full_rating(
    transact, contract_id: int, make_event, seed: int
) -> None:
    """Issued month by month while usage of earlier months still comes; what was issued sums to the last rating."""
    rng = random.Random(seed)
    number = 0
    for month in range(2, 6):
        events = []
        for _ in range(rng.randrange(3, 16)):
            number += 1
            events.append(
                delivered(
                    make_event,
                    number,
                    month=max(2, month - rng.choice([0, 0, 1, 2])),
                    product=rng.choice(["ct", "cad"]),
                    request=rng.choice([f"r{number % 5}", ""]),
                    payer_class=rng.choice(["thirds", "copay", ""]),
                    site=rng.choice(["site-a", "site-b", ""]),
                    department=rng.choice(["er", ""]),
                )
            )
        rng.shuffle(events)
        record(transact, *events)
        issue(transact, contract_id, month)
    with transact() as conn:
        assert ledger.check(conn, TENANT) == []
        _compare(conn, contract_id)


def _compare(conn, contract_id: int) -> None:
    cutoff = aggregate.last_decision(conn, TENANT)
    stored = store.contract_at(conn, TENANT, contract_id, datetime(2026, 5, 20, tzinfo=UTC))
    billed: dict[tuple[str, date, str], int] = defaultdict(int)
    sited: dict[tuple[str, date, str, str], list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for one in store.list_statements(conn, TENANT):
        by_site = sites.of_statement(conn, TENANT, one.statement_id or 0)
        assert sum((part.total for part in by_site), Money.zero("CNY")) == one.total
        assert sum((part.total for part in one.site_totals), Money.zero("CNY")) == one.total
        for line in one.lines:
            billed[one.payer.id, line.rated.service_start, line.rated.key] += line.rated.amount.amount_minor
        for part in by_site:
            for row in part.lines:
                sums = sited[one.payer.id, row.service_start, part.site, row.department]
                sums[0] += row.amount.amount_minor
                sums[1] += row.quantity
    rater = Rater(conn, TENANT, stored, cutoff)
    expected: dict[tuple[str, date, str], int] = {}
    places: dict[tuple[str, date, str, str], list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for month in range(2, 6):
        period = stored.period_of(datetime(2026, month, 20, tzinfo=UTC))
        assert period is not None
        for payer, lines in shares.share(stored.contract, rater.rate(period)).items():
            for line in lines:
                expected[payer, period.starts_on, line.rated.key] = line.rated.amount.amount_minor
                for part in line.sites:
                    sums = places[payer, period.starts_on, part.site, part.department]
                    sums[0] += part.amount.amount_minor
                    sums[1] += part.quantity
    assert {key: amount for key, amount in billed.items() if amount} == {
        key: amount for key, amount in expected.items() if amount
    }
    assert {key: sums for key, sums in sited.items() if any(sums)} == {
        key: sums for key, sums in places.items() if any(sums)
    }
