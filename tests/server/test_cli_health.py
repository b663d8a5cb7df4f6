"""`radmeter models health|pause|resume` on a real database."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner, Result

from server.cli import app


@pytest.fixture
def installed(tmp_path: Path, migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installation in which something was counted today; its database."""
    monkeypatch.setenv("RADMETER_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("RADMETER_DATABASE_URL", migrated_url)
    monkeypatch.setenv("COLUMNS", "160")
    counts = {("status", "completed"): 40, ("positive", "yes"): 10, ("positive", "no"): 30, ("sex", "F"): 40}
    with psycopg.connect(migrated_url) as conn, conn.cursor() as cursor:
        conn.execute("INSERT INTO tenant (tenant, name, called_ae_title) VALUES ('default', 'D', 'RADMETER')")
        cursor.executemany(
            "INSERT INTO model_health_day VALUES ('default', %s, 'lung_nodule_ct', '0.2.0', 'north', %s, %s, %s)",
            [(datetime.now(UTC).date(), *what, count) for what, count in counts.items()],
        )
    return migrated_url


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", *arguments])


def test_health_prints_what_the_page_shows(installed: str) -> None:
    text = run("health", "lung_nodule_ct").stdout
    assert "lung_nodule_ct 0.2.0 @ north" in text
    assert "reference not full yet" in text
    assert "25.0 % (14–40), n = 40" in text
    assert "sex F: with a finding" in text


def test_a_model_is_paused_and_goes_on(installed: str) -> None:
    arguments = ("lung_nodule_ct", "--site", "north")
    assert "is paused at north" in run("pause", *arguments, "--reason", "masses are missed").stdout
    again = run("pause", *arguments, "--reason", "x")
    assert again.exit_code == 1
    assert "paused at north already" in again.stderr
    assert "PAUSED at north by command line" in run("health", "lung_nodule_ct").stdout
    assert "goes on at north; 0 refused studies" in run("resume", *arguments).stdout
    assert run("resume", *arguments).exit_code == 1
    assert "PAUSED" not in run("health", "lung_nodule_ct").stdout


def test_a_model_of_which_nothing_was_counted_says_so(installed: str) -> None:
    result = run("health", "other")
    assert result.exit_code == 1
    assert "nothing was counted of other" in result.stderr


def test_bounds_are_listed_changed_and_taken_back(installed: str) -> None:
    assert "failed_share_stop       0.5" in run("bounds").stdout
    assert (
        "failed_share_stop       0.8   (default 0.5)"
        in run("bounds", "failed_share_stop", "--value", "0.8").stdout
    )
    assert "studies_min             50" in run("bounds", "failed_share_stop", "--default").stdout
    assert "0.8" not in run("bounds").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nonsense", "--value", "1"), "no bound is called 'nonsense'"),
        (("studies_min", "--value", "3"), "fewer cases say nothing"),
        (("psi", "--value", "nan"), "psi must be above 0"),
        (("psi",), "give either"),
    ],
)
def test_a_bound_that_makes_no_sense_is_refused(
    installed: str, arguments: tuple[str, ...], words: str
) -> None:
    result = run("bounds", *arguments)
    assert result.exit_code == 1
    assert words in result.stderr
