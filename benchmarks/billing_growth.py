"""Rating as the number of events grows, a county's month of three million cases, a statement of ten thousand lines."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.billing_data import DECEMBER, NOVEMBER, TENANT, database, durability, generate, seconds
from billing.contracts import store
from billing.rating import sites
from billing.statements import statement
from billing.statements.statement_record import Statement
from pipeline.database import Database

SIZES = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
COUNTY_CASES = 3_000_000
COUNTY_SITES = 100
LINES = 10_000
ROUNDS = 3
PLOT = Path(__file__).resolve().parents[1] / "docs/images/billing-growth.png"

_HEAD = """\
contract: growth
seller: {id: seller, name: Seller, number_prefix: GR}
buyer: {id: county-health, name: County Health}
currency: CNY
time_zone: Asia/Shanghai
effective_from: 2026-01-01
tax: {name: VAT, rate: 0.06}
"""
_RATE = """\
rates:
  - product: chest_dr
    title: {en: "Chest radiograph reading", zh: "胸片智能阅片"}
    unit: {en: case, zh: 例}
    price:
      model: graduated
      tiers:
"""
_TWO_TIERS = "        - {up_to: 50000, unit_price: 10.00}\n        - {unit_price: 9.00}\n"
# The same aggregation and nothing else: no digest, no prices, no statement.
_SAME_SUM = """
SELECT e.product, e.dimensions ->> 'site', sum(e.quantity), count(*) FROM billing.event_decision d
JOIN billing.usage_event e USING (tenant, ingest_sequence)
WHERE d.tenant = %s AND d.contract_id = %s AND d.outcome = 'billable'
  AND e.occurred_at >= '2026-10-31 16:00Z' AND e.occurred_at < '2026-11-30 16:00Z'
GROUP BY 1, 2
"""


def run(
    sizes: tuple[int, ...] = SIZES, county_cases: int = COUNTY_CASES, lines: int = LINES, plot: Path = PLOT
) -> dict[str, Any]:
    """Sizes ascend; each adds events to the same database. The plot is drawn where there is more than one."""
    growth = _growth(sizes)
    if len(sizes) > 1:
        _draw(growth["by_event_count"], plot)
    return {**growth, "county": _county(county_cases), "many_lines": _many_lines(lines)}


def _growth(sizes: tuple[int, ...]) -> dict[str, Any]:
    """The whole month rated again, by site, beside the same aggregation in one statement."""
    by_count: dict[str, dict[str, float]] = {}
    with database() as (opened, url):
        contract_id = _add(opened, _HEAD + _by_site())
        settings, done = durability(url), 0
        for size in sizes:
            generate(url, contract_id, done + 1, size, product="chest_dr", sites=COUNTY_SITES)
            done = size
            sums, drafts = [], []
            for _ in range(ROUNDS):
                with opened.transaction(TENANT) as conn:
                    sums.append(seconds(lambda: conn.execute(_SAME_SUM, (TENANT, contract_id)).fetchall()))
                    drafts.append(seconds(lambda: statement.draft(conn, TENANT, contract_id, NOVEMBER)))
            by_count[str(size)] = {
                "rate_s": median(drafts),
                "same_sum_in_sql_s": median(sums),
                "times_the_sum_in_sql": median(drafts) / median(sums),
                "events_per_s": size / median(drafts),
            }
    return {**settings, "by_event_count": by_count}


def _county(cases: int) -> dict[str, Any]:
    """P10: one payer, a hundred sites; the statement is issued and every site's part of it read."""
    with database() as (opened, url):
        contract_id = _add(opened, _HEAD + "site_statements: {by: site}\n" + _RATE + _TWO_TIERS)
        generate(url, contract_id, 1, cases, product="chest_dr", sites=COUNTY_SITES)
        issued: list[Statement] = []
        with opened.transaction(TENANT) as conn:
            draft_s = seconds(lambda: statement.draft(conn, TENANT, contract_id, NOVEMBER))
        with opened.transaction(TENANT) as conn:
            issue_s = seconds(
                lambda: issued.append(statement.issue(conn, TENANT, contract_id, NOVEMBER, now=DECEMBER))
            )
        with opened.transaction(TENANT) as conn:
            statement_id = issued[0].statement_id
            assert statement_id is not None
            parts: list[sites.SiteStatement] = []
            sites_s = seconds(lambda: parts.extend(sites.of_statement(conn, TENANT, statement_id)))
            assert sum(part.total.amount_minor for part in parts) == issued[0].total.amount_minor
    return {
        "case_count": cases,
        "site_statement_count": len(parts),
        "draft_s": draft_s,
        "issue_s": issue_s,
        "site_statements_s": sites_s,
    }


def _many_lines(lines: int) -> dict[str, Any]:
    """As many tiers as lines; one event reaches them all."""
    tiers = "".join(
        f"        - {{up_to: {end}, unit_price: {end % 97}.{end % 100:02d}}}\n" for end in range(1, lines)
    )
    with database() as (opened, url):
        contract_id = _add(opened, _HEAD + _RATE + tiers + "        - {unit_price: 1.00}\n")
        generate(url, contract_id, 1, lines, product="chest_dr")
        issued: list[Statement] = []
        with opened.transaction(TENANT) as conn:
            issue_s = seconds(
                lambda: issued.append(statement.issue(conn, TENANT, contract_id, NOVEMBER, now=DECEMBER))
            )
        assert len(issued[0].lines) == lines
    return {"line_count": lines, "issue_s": issue_s}


def _by_site() -> str:
    """A price for one site and another for all others, so that usage is summed by site."""
    own = _RATE.replace("  - product", "  - id: first\n    when: {site: site-001}\n    product") + _TWO_TIERS
    return own + _RATE.removeprefix("rates:\n") + _TWO_TIERS


def _add(opened: Database, text: str) -> int:
    with opened.transaction(TENANT) as conn:
        return store.add_contract(conn, TENANT, text)


def _draw(by_count: dict[str, dict[str, float]], path: Path) -> None:
    """Seconds over events, both logarithmic: a straight line of slope one is linear growth."""
    from matplotlib.figure import Figure

    counts = [int(count) for count in by_count]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, label in (
        ("rate_s", "the month rated again"),
        ("same_sum_in_sql_s", "the same sum in one SQL statement"),
    ):
        axes.loglog(counts, [by_count[str(count)][name] for count in counts], marker="o", label=label)
    last = by_count[str(counts[-1])]["rate_s"] / counts[-1]
    axes.loglog(counts, [last * count for count in counts], linestyle=":", color="grey", label="linear")
    axes.set_xlabel("events of the month")
    axes.set_ylabel("seconds")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})
