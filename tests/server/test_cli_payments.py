"""`radmeter payment`, `bank` and `rails`: from a statement to its payment, a refund and the file for the bank."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner, Result

from billing.metering import meter
from billing.metering.usage import UsageEvent
from server.cli import app
from tests.billing.bank.bank_files import Booking, camt
from tests.conftest import ROOT
from tests.server.commands import ENTERED, add_people

MARCH = datetime(2026, 3, 10, tzinfo=UTC)
PEOPLE = ("--by", "lin", "--approved-by", "wang")


@pytest.fixture
def installed(tmp_path: Path, migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation whose tenant owes 212.00 CNY for March 2026."""
    monkeypatch.setenv("RADMETER_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("RADMETER_DATABASE_URL", migrated_url)
    monkeypatch.setenv("COLUMNS", "220")
    with psycopg.connect(migrated_url) as conn:
        conn.execute(
            "INSERT INTO tenant (tenant, name, called_ae_title) VALUES ('default', 'Default', 'RADMETER')"
        )
    add_people(migrated_url, lin="admin", wang="approver")
    done("contract", "add", ROOT / "examples" / "contract_per_case.yaml")
    with psycopg.connect(migrated_url) as conn:
        for number in (1, 2):
            event = UsageEvent(
                tenant="default", source="test", event_id=f"e{number}", kind="result_delivered",
                product="lung_nodule_ct", quantity=Decimal(1), occurred_at=MARCH, study_ref=f"s{number}",
                case_key=f"c{number}",
            )  # fmt: skip
            meter.record(conn, event, received_at=MARCH)
    done("statement", "issue", "1", "--day", "2026-03-15")
    return tmp_path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=ENTERED)


def done(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    return result.stderr


def test_a_bank_file_pays_the_statement_and_what_is_over_goes_back_by_the_bank(installed: Path) -> None:
    file = installed / "bank.xml"
    file.write_bytes(camt([Booking("300.00", "RM-DEFAULT-000001"), Booking("-9.00", "=rent")]))
    shown = done("bank", "import", file, "--format", "camt.053", "--by", "lin")
    assert "2 lines, 2 of them new" in shown
    assert "pays 88.00 more than is open" in shown
    assert "to decide: left the account" in shown
    assert "2 lines, 0 of them new" in done("bank", "import", file, "--format", "camt.053", "--by", "lin")
    done("bank", "match", "--line", "2", "--dismiss", "rent of March", "--by", "lin")
    assert "rent of March" in refused("bank", "match", "--line", "2", "--dismiss", "again", "--by", "lin")
    assert "88.00" in done("payment", "list", "--unapplied")

    refund = ("payment", "refund", "1", "--reason", "paid too much")
    assert "radmeter rails address demo-hospital" in refused(*refund, *PEOPLE)
    assert "a second person" in refused(*refund, "--by", "lin", "--approved-by", "lin")
    address = ("rails", "address", "demo-hospital", "--account", "6222", "--holder", "Demo Hospital")
    done(*address, *PEOPLE)
    done(*refund, *PEOPLE)
    assert "1 steps" in done("rails", "run")
    out = installed / "orders.csv"
    order = (
        "bank",
        "order",
        "--out",
        out,
        "--holder",
        "Us",
        "--account",
        "DE02120300000000202051",
        "--by",
        "lin",
    )
    done(*order)
    written = out.read_text()
    assert "RMO1G1,Demo Hospital,6222,,88.00,CNY,refund 2 RMO1G1" in written
    assert "no refund and no payout in CNY waits" in refused(*order)
    done(*order, "--again", "1")
    assert out.read_text() == written
    file.write_bytes(camt([Booking("-88.00", "refund", e2e="RMO1G1")]))
    assert "which the bank carried out" in done("bank", "import", file, "--format", "camt.053", "--by", "lin")
    assert "confirmed" in done("rails", "status", "--all")
    assert "nothing to try again" in refused("rails", "retry", "1")
    assert done("ledger", "check") == "the books are sound\n"


def test_a_payment_is_recorded_allocated_taken_back_and_the_rest_written_off(installed: Path) -> None:
    receive = ("payment", "receive", "demo-hospital", "200.00", "--id", "cheque-7", "--by", "lin")
    assert "payment 1: 200.00 CNY, 200.00 unapplied" in done(*receive, "--day", "2026-04-02")
    assert "payment 1" in done(*receive)
    assert "other content" in refused(
        "payment", "receive", "demo-hospital", "1", "--id", "cheque-7", "--by", "lin"
    )
    assert "check the spelling" in refused("payment", "receive", "demo", "1", "--id", "x", "--by", "lin")
    assert "not an amount of CNY" in refused(
        "payment", "receive", "demo-hospital", "1.234", "--id", "x", "--by", "lin"
    )
    assert "RM-DEFAULT-000001 is partly paid" in done("payment", "allocate", "1", "1", "--by", "lin")
    assert "allocation 2: -200.00" in done("payment", "unallocate", "1", "--by", "lin", "--reason", "wrong")
    assert "the statement asks 212.00" in refused(
        "payment", "allocate", "1", "1", "--amount", "200.01", "--by", "lin"
    )
    done("payment", "allocate", "1", "1", "--by", "lin")
    off = ("payment", "write-off", "1", "--reason", "not worth a letter")
    assert "12.00 written off, 0.00 open" in done(*off, *PEOPLE)
    assert done("ledger", "check") == "the books are sound\n"


def test_a_csv_is_read_by_its_headings_and_a_line_settled_by_hand(installed: Path) -> None:
    file = installed / "bank.csv"
    file.write_text('Wann,Wieviel,Wofür\n2026-04-01,"197,00",danke\n', encoding="utf-8")
    form = (
        "bank",
        "import",
        file,
        "--format",
        "csv",
        "--by",
        "lin",
        "--currency",
        "CNY",
        "--account",
        "ours",
    )
    assert "--column booked_on=Datum" in refused(*form)
    assert "write field=heading" in refused(*form, "--column", "x")
    named = ("--column", "booked_on=Wann", "--column", "amount=Wieviel", "--column", "remittance=Wofür")
    assert "decimal mark" in refused(*form, *named)
    assert "to decide" in done(*form, *named, "--decimal-mark", ",")
    assert "say --payer" in refused("bank", "match", "--line", "1", "--by", "lin")
    by_hand = ("bank", "match", "--line", "1", "--payer", "demo-hospital", "--by", "lin")
    done(*by_hand, "--statement", "1", "--fee", "15.00")
    listed = done("payment", "list")
    assert "No statement is open." in listed
    assert ("212.00 CNY" in listed, "RM-DEFAULT" in listed) == (True, False)
    assert "no format 'pdf'" in refused("bank", "import", file, "--format", "pdf", "--by", "lin")


def test_what_waits_for_stripe_waits_until_it_is_set_up_or_given_up(installed: Path) -> None:
    done(
        "rails",
        "address",
        "demo-hospital",
        "--direction",
        "in",
        "--rail",
        "stripe",
        "--email",
        "a@b.example",
        "--by",
        "lin",
    )
    assert "operation 1 waits" in done("rails", "collect", "1")
    assert "0 steps" in done("rails", "run")
    assert "intent" in done("rails", "status")
    done("rails", "fail", "1", "--by", "lin", "--reason", "they pay by transfer")
    assert "operation 1 is failed" in refused("rails", "fail", "1", "--by", "lin", "--reason", "x")
    assert "intent, due now" in done("rails", "retry", "1")
    assert "no rail operation 9" in refused("rails", "retry", "9")
