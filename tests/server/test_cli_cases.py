"""Sites of a statement and verdicts from the command line, on a database of its own."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import openpyxl
import psycopg
import pytest
from psycopg.rows import dict_row

from billing.contracts import store
from billing.metering import meter
from billing.metering.usage import UsageEvent
from billing.statements import statement
from tests.server.commands import done, failed

CONTRACT = (Path(__file__).resolve().parents[2] / "examples/contract_per_case.yaml").read_text()
TERMS = """
site_statements: {by: department}
outcome: {products: [lung_nodule_ct], window_days: 14, at_delivery: 1, none: 0}
"""
PLACES = ({"site": "../../town-a", "department": "=cmd|calc"}, {"site": "town-b"}, {"site": "town-b"})


@pytest.fixture
def statement_id(migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Three cases of two months ago at two sites, 318.00 with tax."""
    for name in list(os.environ):
        if name.startswith("RADMETER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RADMETER_DATA", str(tmp_path))
    monkeypatch.setenv("RADMETER_DATABASE_URL", migrated_url)
    now = datetime.now(UTC)
    text = CONTRACT.replace("effective_from: 2026-01-01", "effective_from: 2020-01-01") + TERMS
    at = now - timedelta(days=65)
    with psycopg.connect(migrated_url, row_factory=dict_row) as conn:
        conn.execute(
            "INSERT INTO tenant (tenant, name, called_ae_title) VALUES ('default', 'Clinic', 'RADMETER')"
        )
        conn.execute("SELECT set_config('radmeter.tenant', 'default', true)")
        contract_id = store.add_contract(conn, "default", text)
        for n, place in enumerate(PLACES):
            key = (
                "default",
                "t",
                f"e{n}",
                "result_delivered",
                "lung_nodule_ct",
                Decimal(1),
                at,
                f"s{n}",
                f"c{n}",
            )
            meter.record(conn, UsageEvent(*key, dimensions=place), received_at=at)
        issued = statement.issue(conn, "default", contract_id, at, now=now - timedelta(days=33))
    return str(issued.statement_id)


def test_each_site_gets_its_part_as_files(statement_id: str, tmp_path: Path) -> None:
    assert "RM-DEFAULT-000001: 318.00 CNY" in done("site", "list", statement_id)
    out = tmp_path / "out"
    told = done("site", "export", statement_id, "--out", out)
    assert told.splitlines()[1] == "RM-DEFAULT-000001-site-002: town-b: 212.00"
    names = sorted(path.name for path in out.iterdir())
    assert names == [f"RM-DEFAULT-000001-site-00{n}.{kind}" for n in (1, 2) for kind in ("csv", "xlsx")]
    assert '"\'=cmd|calc"' in (out / names[0]).read_text("utf-8-sig")
    book = openpyxl.load_workbook(out / names[3])
    cells = [cell.value for sheet in book for row in sheet.iter_rows() for cell in row]
    assert 200 in cells
    assert "no part for site 'town-z'" in failed(
        "site", "export", statement_id, "--out", out, "--site", "town-z"
    )


def test_a_verdict_is_given_by_who_is_not_paid_and_windows_are_settled(statement_id: str) -> None:
    when = f"{datetime.now(UTC) - timedelta(days=64):%Y-%m-%dT%H:%M:%S}"
    refused = failed("outcome", "record", "t", "e0", "accepted", "--by", "radmeter-imaging", "--at", when)
    assert "is paid for the result and cannot judge it" in refused
    assert "no usage event 'e9'" in failed("outcome", "record", "t", "e9", "accepted", "--by", "dr-7")
    for _ in range(2):  # sent again it is the same verdict
        told = done("outcome", "record", "t", "e0", "rejected", "--by", "dr-7", "--at", when)
        assert told == "e0: rejected, judged by dr-7\n"
    assert done("outcome", "settle") == "2 case(s) without a verdict settled\n"
    assert done("outcome", "settle") == "0 case(s) without a verdict settled\n"
