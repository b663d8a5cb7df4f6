"""`radmeter ledger`, `close` and `reconcile`: a month from the first look to its closing, by two people."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from billing.books.hospital_count import request_token
from billing.metering import meter
from billing.metering.usage import UsageEvent
from billing.statements import statement
from server.cli import app
from server.installation import FIRST_TENANT, create_tenant, owner_connection
from study.identifiers import AETitle
from tests.billing.payment_seeds import add_contract
from tests.billing.payment_seeds import receive as receive_payment
from tests.server.commands import ENTERED, add_people

Run = Callable[..., Result]
MARCH = datetime(2026, 3, 10, 4, tzinfo=UTC)
APRIL = datetime(2026, 4, 2, tzinfo=UTC)


@pytest.fixture
def run(migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_usage) -> Run:
    """Months to March are issued, two cases in March; one in April has no statement yet."""
    monkeypatch.setenv("RADMETER_DATABASE_URL", migrated_url)
    monkeypatch.setenv("RADMETER_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "250")
    with owner_connection(migrated_url) as conn:
        create_tenant(conn, FIRST_TENANT, "Default", AETitle("RADMETER"))
        contract_id = add_contract(conn, FIRST_TENANT)
        for number, at in ((1, MARCH), (2, MARCH), (3, APRIL)):
            meter.record(conn, make_usage(number, at), received_at=APRIL)
        for month in (1, 2, 3):
            at = datetime(2026, month, 10, tzinfo=UTC)
            statement.issue(conn, FIRST_TENANT, contract_id, at, now=APRIL, nil=True)
        conn.commit()

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(app, list(arguments), input=ENTERED)

    add_people(migrated_url, ann="admin", bo="approver")
    assert invoke("ledger", "zone", "Asia/Shanghai").exit_code == 0
    return invoke


@pytest.fixture
def make_usage() -> Callable[[int, datetime], UsageEvent]:
    def make(number: int, at: datetime) -> UsageEvent:
        return UsageEvent(
            FIRST_TENANT, "test", f"e{number}", "result_delivered", "lung_nodule_ct", Decimal(1), at, f"study-{number}",
            f"case-{number}", {"request": request_token(b"key", f"ACC{number}")},
        )  # fmt: skip

    return make


def said(result: Result, *words: str) -> None:
    assert result.exit_code == 0, result.output
    for word in words:
        assert word in result.stdout, result.stdout


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.stderr + result.stdout, result.output


def test_a_month_is_closed_by_two_people_and_reopened_by_two(run: Run) -> None:
    refused(run("close", "begin", "2999-01", "--by", "ann"), "is not over")
    refused(run("ledger", "close", "2026-03"), "2026-03 is open")
    said(run("close", "begin", "2026-03", "--by", "ann"), "collecting", "control_accounts")
    said(run("close", "show", "2026-03"), "all issued")
    refused(run("close", "waive", "2026-03", "rails", "--by", "ann", "--reason", "r"), "no open item")
    said(run("close", "sign", "2026-03", "--by", "ann"), "signed by ann")
    refused(run("ledger", "close", "2026-03"), "two people sign")
    said(run("close", "sign", "2026-03", "--by", "bo"), "signed by ann", "signed by bo")
    said(run("ledger", "close", "2026-03"), "2026-03 is closed")
    refused(run("ledger", "reopen", "2026-03", "--by", "ann"), "one of --reason, --approve and --refuse")
    said(run("ledger", "reopen", "2026-03", "--by", "ann", "--reason", "a site is missing"), "reopening")
    refused(run("ledger", "reopen", "2026-03", "--by", "ann", "--approve"), "another person")
    said(run("ledger", "reopen", "2026-03", "--by", "bo", "--approve"), "2026-03: open")
    said(run("ledger", "check"), "sound")


def test_what_is_open_is_shown_and_waived(run: Run) -> None:
    refused(run("close", "show", "2026-04"), "statements", "2026-04-01 to 2026-05-01")


def test_the_reports_are_printed_and_written(run: Run, migrated_url: str, tmp_path: Path) -> None:
    with owner_connection(migrated_url) as conn:
        receive_payment(conn, FIRST_TENANT, "demo-hospital", 5000, received_at=APRIL, now=APRIL)
        conn.commit()
    said(run("ledger", "trial-balance", "--at", "2026-03-31"), "receivable:demo-hospital", "212.00", "-12.00")
    said(
        run("ledger", "account", "receivable", "--since", "2026-03-01", "--at", "2026-03-31"),
        "RM-DEFAULT-000003",
    )
    said(run("ledger", "ageing", "--at", "2026-06-15"), "31-60", "212.00")
    said(run("ledger", "roll-forward", "tax_payable", "--since", "2026-03-01"), "statement_issued", "-12.00")
    said(run("ledger", "outstanding"), "unbilled", "2026-04-01 to 2026-05-01", "100.00")
    said(run("ledger", "recognise", "--until", "2026-04-01"), "nothing more was earned")
    for style, word in (
        ("csv", "payment_received"),
        ("beancount", "Assets:Cash:Bank"),
        ("trial-balance", "cash:bank"),
    ):
        out = tmp_path / style
        said(run("ledger", "export", "--out", str(out), "--format", style), "written to")
        assert word in out.read_text()
    refused(run("ledger", "trial-balance", "--at", "yesterday"), "is not a day")


def test_a_list_of_the_hospital_is_compared_and_shown_again(run: Run, tmp_path: Path) -> None:
    listed, key = tmp_path / "list.csv", tmp_path / "key"
    listed.write_text("accession,code,day\nACC1,CT-AI,2026-03-10\nACC7,CT-AI,2026-03-11\n")
    key.write_bytes(b"key\n")
    days = ("--since", "2026-03-01", "--until", "2026-03-31", "--by", "ann", "--format", "csv")
    options = ("--column", "token=accession", "--code", "CT-AI=lung_nodule_ct")
    refused(run("reconcile", "run", str(listed), *days, *options), "row 2: the token is no HMAC")
    done = run("reconcile", "run", str(listed), *days, *options, "--key-file", str(key))
    said(
        done, "matched by request: 1", "not in their list: 1", "not billed: 1", request_token(b"key", "ACC7")
    )
    assert run("reconcile", "show", "1").stdout == done.stdout
    said(run("reconcile", "list"), "csv", "ann")
    refused(run("reconcile", "show", "9"), "no reconciliation 9")
    refused(run("reconcile", "run", str(listed), *days, "--code", "x"), "is not NAME=VALUE")


def test_the_books_of_every_tenant_are_checked_at_once(run: Run, migrated_url: str) -> None:
    with owner_connection(migrated_url, "beta") as conn:
        create_tenant(conn, "beta", "Beta", AETitle("BETA"))
        conn.commit()
    said(run("ledger", "check", "--every-tenant"), "the books are sound: beta, default")
    with owner_connection(migrated_url) as conn:
        conn.execute("SET session_replication_role = replica")
        conn.execute("UPDATE billing.usage_event SET study_ref = 'other' WHERE ingest_sequence = 1")
        conn.commit()
    said(run("ledger", "check", "--tenant", "beta"), "the books are sound")
    refused(run("ledger", "check", "--every-tenant"), "default: usage event 1: it was changed")
