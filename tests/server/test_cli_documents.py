"""Credit, dispute, document and remind from the command line, on a database of its own."""

from __future__ import annotations

import csv
import functools
import io
import json
import os
import zipfile
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
from billing.rating.sites import SiteLine, SiteStatement
from billing.statements import statement
from server.document_files import zip_of_sites
from tests.billing.test_statement_document import issued, make_statement
from tests.server import commands
from tests.server.commands import ENTERED, add_people

CONTRACT = (Path(__file__).resolve().parents[2] / "examples/contract_per_case.yaml").read_text()
TERMS = """
credits: {approval_above: 200}
disputes: {window_days: 60}
dunning: [{days_after_due: 1, text: {en: Please pay., zh: 请付款。}}]
"""
done = functools.partial(commands.done, entered=ENTERED)
failed = functools.partial(commands.failed, entered=ENTERED)
NAME = "=cmd|'/c calc'!A1"


@pytest.fixture
def statement_id(migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Three cases of two months ago, 318.00 with tax, overdue since a day."""
    for name in list(os.environ):
        if name.startswith("RADMETER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RADMETER_DATA", str(tmp_path))
    monkeypatch.setenv("RADMETER_DATABASE_URL", migrated_url)
    now = datetime.now(UTC)
    text = CONTRACT.replace("effective_from: 2026-01-01", "effective_from: 2020-01-01")
    text = text.replace("name: Demo Hospital (example buyer)", f'name: "{NAME}"') + TERMS
    at = now - timedelta(days=65)
    with psycopg.connect(migrated_url, row_factory=dict_row) as conn:
        conn.execute(
            "INSERT INTO tenant (tenant, name, called_ae_title) VALUES ('default', 'Clinic', 'RADMETER')"
        )
        conn.execute("SELECT set_config('radmeter.tenant', 'default', true)")
        contract_id = store.add_contract(conn, "default", text)
        for n in range(3):
            event = UsageEvent(
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
            meter.record(conn, event, received_at=at)
        one = statement.issue(conn, "default", contract_id, at, now=now - timedelta(days=33))
    add_people(migrated_url, finance="admin", head="approver")
    return str(one.statement_id)


def test_a_credit_goes_from_the_statement_to_every_file(statement_id: str, tmp_path: Path) -> None:
    told = done("statement", "credit", statement_id, "--line", "1=1/3", "--reason", NAME, "--by", "finance")
    assert told == "credit note 1: RM-DEFAULT-CN-000001, 106.00 CNY\n"
    assert "RM-DEFAULT-CN-000001 106.00 CNY on RM-DEFAULT-000001" in done("credit-note", "list")
    shown = done("credit-note", "show", "1", "--language", "zh")
    assert "贷项通知单 RM-DEFAULT-CN-000001" in shown
    assert "106.00" in shown
    done("credit-note", "export", "1", "--out", tmp_path / "out")
    values = json.loads((tmp_path / "out/RM-DEFAULT-CN-000001.json").read_text())
    assert (values["schema"], values["total"]) == (
        "radmeter.credit_note/1",
        {"amount": "106.00", "minor": 10600},
    )
    assert values["lines"][0]["fraction_credited_so_far"] == "1/3"
    assert (tmp_path / "out/RM-DEFAULT-CN-000001.pdf").read_bytes().startswith(b"%PDF-")
    for file in ("xlsx",):
        book = openpyxl.load_workbook(tmp_path / f"out/RM-DEFAULT-CN-000001.{file}")
        cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
        assert {cell.data_type for cell in cells} <= {"s", "n", "d"}
        assert any(str(cell.value).startswith(NAME) and cell.quotePrefix for cell in cells)
    text = (tmp_path / "out/RM-DEFAULT-CN-000001.csv").read_text("utf-8-sig")
    [line, *_] = csv.DictReader(io.StringIO(text))
    assert (line["line"], line["line_amount"], line["amount"]) == ("1", "300.00", "100.00")


def test_a_statement_is_written_in_the_forms_that_were_asked_for(statement_id: str, tmp_path: Path) -> None:
    done("statement", "credit", statement_id, "--amount", "53.00", "--reason", "x", "--by", "finance")
    done(
        "statement", "export", statement_id, "--out", tmp_path / "out", "--format", "xlsx", "--format", "json"
    )
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".json", ".xlsx"]
    values = json.loads((tmp_path / "out/RM-DEFAULT-000001.json").read_text())
    assert values["total"]["amount"] == "318.00"
    assert values["open"]["amount"] == "265.00"
    assert [note["total"]["minor"] for note in values["credit_notes"]] == [5300]
    assert values["lines"][0]["explanation"]["zh"] == "3 × 100.00"
    done("statement", "export", statement_id, "--out", tmp_path / "all")
    written = {path.name.removeprefix("RM-DEFAULT-000001") for path in (tmp_path / "all").iterdir()}
    assert written == {"-cases.csv", ".csv", ".json", ".pdf", ".xlsx"}


def test_a_dispute_is_opened_and_decided(statement_id: str) -> None:
    opened = done(
        "statement",
        "dispute",
        statement_id,
        "--line",
        "1=100.00",
        "--reason",
        "two cases",
        "--by",
        "hospital",
    )
    assert opened == "dispute 1: 106.00 CNY of RM-DEFAULT-000001\n"
    assert done("dispute", "list") == "1 open RM-DEFAULT-000001 line 1: 106.00, two cases\n"
    assert "106.00 CNY" in done("payment", "list")
    assert "another person decides it" in failed(
        "dispute", "reject", "1", "--reason", "x", "--by", "hospital"
    )
    accepted = done("dispute", "accept", "1", "--line", "1=50.00", "--reason", "one case", "--by", "finance")
    assert accepted == "dispute 1 is partial by credit note 1\n"
    assert "was partial by finance" in failed("dispute", "reject", "1", "--reason", "x", "--by", "finance")
    assert "no dispute 2" in failed("dispute", "reject", "2", "--reason", "x", "--by", "finance")


def test_above_the_limit_another_person_approves(statement_id: str) -> None:
    asked = done("statement", "credit", statement_id, "--all", "--reason", "x", "--by", "finance")
    assert asked == "request 1 waits for another person: radmeter credit-note approve 1\n"
    assert "another person decides it" in failed("credit-note", "approve", "1", "--by", "finance")
    assert done("credit-note", "approve", "1", "--by", "head") == (
        "credit note 1: RM-DEFAULT-CN-000001, 318.00 CNY\n"
    )
    assert "was approved by head" in failed("credit-note", "refuse", "1", "--by", "head")


def test_tax_documents_go_out_and_numbers_come_in(statement_id: str, tmp_path: Path) -> None:
    assert "318.00 CNY over RM-DEFAULT-000001" in done("fiscal", "request", statement_id, "--by", "finance")
    done("fiscal", "export", "--out", tmp_path / "out.csv")
    [row] = csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text("utf-8-sig")))
    assert (row["total"], row["buyer_name"]) == ("318.00", f"'{NAME}")
    numbers = tmp_path / "in.csv"
    numbers.write_text("request,action,number,issued_on,failure\n1,issue,A 1,2027-01-03,\n")
    assert "line 2: `number` needs" in failed("fiscal", "import", numbers, "--by", "finance")
    numbers.write_text("request,action,number,issued_on,failure\n1,issue,A1,2027-01-03,\n")
    assert done("fiscal", "import", numbers, "--by", "finance") == "1 document(s) moved\n"
    done("fiscal", "cancel", "1", "--reason", "credited", "--by", "finance")
    assert done("fiscal", "list") == "1 red_requested 318.00 over RM-DEFAULT-000001 A1\n"


def test_reminders_are_written_once_and_printed(statement_id: str, tmp_path: Path) -> None:
    assert "RM-DEFAULT-000001-R1: 318.00 CNY is" in done("dunning", "run")
    assert done("dunning", "run") == "0 reminder(s) written\n"
    done(
        "dunning",
        "export",
        statement_id,
        "1",
        "--out",
        tmp_path / "out",
        "--format",
        "pdf",
        "--format",
        "json",
    )
    assert json.loads((tmp_path / "out/RM-DEFAULT-000001-R1.json").read_text())["payable"]["minor"] == 31800
    assert "has no reminder 2" in failed("dunning", "export", statement_id, "2", "--out", tmp_path)
    assert "is not a day" in failed("dunning", "run", "--as-of", "soon")
    assert "has not begun" in failed("dunning", "run", "--as-of", "2999-01-01")


def test_a_line_that_cannot_be_credited_is_told_in_one_sentence(statement_id: str) -> None:
    for line, says in (
        ("x", "begin with the line's number"),
        ("1=a", "is not an amount of CNY"),
        ("1=0.001", "with at most 2 decimals"),
        ("1=1/0", "is not a fraction"),
        ("1=NaN", "is not an amount"),
        ("1=" + "9" * 40, "is not an amount"),
        ("1=-1/3", "can still be credited of line 1"),
        ("1=300.01", "30000 minor units before tax can still be credited of line 1"),
        ("2", "has lines 1 to 1"),
    ):
        said = failed("statement", "credit", statement_id, "--line", line, "--reason", "x", "--by", "finance")
        assert says in said
        assert said.count("\n") == 1


def test_each_site_has_its_files_in_one_archive_whatever_it_is_called() -> None:
    issued_one = issued(make_statement(CONTRACT, "2"))
    [line] = issued_one.lines
    rated = line.rated
    part = SiteLine(1, NAME, rated.product, rated.title, rated.unit, rated.service_start, rated.service_end, "usage",
                    rated.quantity, rated.amount, line.tax)  # fmt: skip
    parts = [SiteStatement(issued_one, site, site, (part,)) for site in ("../../etc/passwd", NAME, "")]
    data = zip_of_sites(parts, "zh")
    assert data == zip_of_sites(parts, "zh")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        assert len(set(names)) == 6
        assert not any("/" in name or "=" in name for name in names)
        values = json.loads(archive.read(names[1]))
        book = openpyxl.load_workbook(io.BytesIO(archive.read(names[0])))
    assert (values["schema"], values["total"]["amount"]) == ("radmeter.site_statement/1", "212.00")
    assert {cell.data_type for sheet in book for row in sheet.iter_rows() for cell in row} <= {"s", "n", "d"}
