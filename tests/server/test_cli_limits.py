"""`radmeter wallet` and `budget`: from a sold package to its use, and from a limit to its change."""

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
from tests.portal.money_seeds import LIMITED


@pytest.fixture
def installed(tmp_path: Path, migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installation with one contract that sells packages and has limits; its database."""
    monkeypatch.setenv("RADMETER_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("RADMETER_DATABASE_URL", migrated_url)
    monkeypatch.setenv("COLUMNS", "220")
    with psycopg.connect(migrated_url) as conn:
        conn.execute(
            "INSERT INTO tenant (tenant, name, called_ae_title) VALUES ('default', 'Default', 'RADMETER')"
        )
    contract = tmp_path / "contract.yaml"
    contract.write_text(LIMITED, "utf-8")
    done("contract", "add", contract)
    return migrated_url


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def done(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    return result.stderr


def screen(url: str, number: int) -> None:
    now = datetime.now(UTC)
    event = UsageEvent(
        tenant="default", source="test", event_id=f"e{number}", kind="result_delivered", product="screening",
        quantity=Decimal(1), occurred_at=now, study_ref=f"s{number}", case_key=f"c{number}",
        dimensions={"member": "token-1", "site": "north"},
    )  # fmt: skip
    with psycopg.connect(url) as conn:
        meter.record(conn, event, received_at=now)


def test_a_package_is_sold_used_and_shown(installed: str) -> None:
    sale = ("wallet", "sell", "1", "three-screenings", "P-1", "--member", "token-1")
    assert "billable" in done(*sale)
    done(*sale)  # the same purchase again
    screen(installed, 1)
    listed = done("wallet", "list")
    assert "token-1" in listed
    assert [cell.strip() for cell in listed.splitlines()[3].split("│")[4:7]] == ["3", "2", "2"]
    shown = done("wallet", "show", "1", "three-screenings", "--owner", "token-1")
    assert "used" in shown
    assert "0 lot(s) ended" in done("wallet", "expire")
    assert "name a member" in refused("wallet", "sell", "1", "three-screenings", "P-2")
    assert "no prepaid package" in refused("wallet", "sell", "1", "other", "P-2")
    assert "no balance" in refused("wallet", "show", "1", "three-screenings", "--owner", "nobody")


def test_limits_are_listed_changed_and_forecast(installed: str) -> None:
    for number in range(6):
        screen(installed, number)
    assert "north" in done("budget", "list")
    assert "daily: 6 of 7 used, 85 %" in done("budget", "raise", "1", "daily", "7", "--reason", "flu")
    assert "50" in done("budget", "alerts")
    assert "expected" in done("budget", "forecast", "1")
    assert "no limit" in refused("budget", "raise", "1", "yearly", "7", "--reason", "flu")
    assert "is not a number" in refused("budget", "raise", "1", "daily", "many", "--reason", "flu")
