"""`radmeter payout` and `contribution`: from the weights of a pool to an approved payout, without a server."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner, Result

from billing.metering import meter
from billing.metering.usage import UsageEvent
from billing.rails import rail_address
from billing.rails.rail_address import RailAddress
from server.cli import app
from tests.conftest import ROOT
from tests.server.commands import ENTERED, add_people, said_by

SCENARIO = ROOT / "tests/golden/scenarios/P05-data-contribution"
JANUARY = datetime(2020, 1, 10, tzinfo=UTC)


@pytest.fixture
def installed(tmp_path: Path, migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation with the contract of data contribution and one case delivered in January 2020."""
    monkeypatch.setenv("RADMETER_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("RADMETER_DATABASE_URL", migrated_url)
    for name in ("contract.yaml", "contributions.csv"):
        text = (SCENARIO / name).read_text(encoding="utf-8").replace("2026", "2020")
        (tmp_path / name).write_text(text, encoding="utf-8")
    with psycopg.connect(migrated_url) as conn:
        conn.execute(
            "INSERT INTO tenant (tenant, name, called_ae_title) VALUES ('default', 'Default', 'RADMETER')"
        )
    done("contract", "add", tmp_path / "contract.yaml")
    add_people(migrated_url, li="admin", chen="approver", wu="approver:east-hospital")
    with psycopg.connect(migrated_url) as conn:
        event = UsageEvent(
            tenant="default", source="test", event_id="e1", kind="result_delivered", product="lung_nodule_ct",
            quantity=Decimal(10), occurred_at=JANUARY, study_ref="s1", case_key="c1",
        )  # fmt: skip
        meter.record(conn, event, received_at=JANUARY)
        address = RailAddress("east-hospital", "out", "bank", "6222000000000001", holder="East Hospital")
        rail_address.keep(conn, "default", address, requested_by="li", approved_by="chen", now=JANUARY)
    return tmp_path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=ENTERED)


def done(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return said_by(result)


def refused(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert (result.exit_code, said_by(result)) == (1, "")
    return result.stderr


def test_a_pool_is_weighed_shared_stated_approved_and_exported(installed: Path) -> None:
    issue_january = ("statement", "issue", "1", "--day", "2020-01-15")
    assert "radmeter contribution set" in refused(*issue_january)
    weights = installed / "contributions.csv"
    assert "pool hospitals, period of 2020-01-01: set" in done(
        "contribution", "set", "1", weights, "--by", "li"
    )
    assert "12000" in done("contribution", "show", "1", "hospitals", "--day", "2020-01-20")
    done(*issue_january)
    assert "is issued: its contributions are fixed" in refused(
        "contribution", "set", "1", weights, "--by", "li"
    )

    month = ("--month", "2020-01")
    assert "Payout statement Draft" in done("payout", "draft", "east-hospital", *month)
    assert "nothing was ever shared with 'nobody'" in refused("payout", "draft", "nobody", *month)
    issued = done("payout", "issue", *month, "--by", "li")
    assert issued.count("RM-DEFAULT-PO-00000") == 3
    assert done("payout", "issue", *month, "--by", "li") == issued
    assert "结算单 RM-DEFAULT-PO-000001" in done("payout", "show", "1", "--language", "zh")

    assert "somebody else approves it" in refused("payout", "approve", "1", "--by", "li")
    assert "is or belongs to the payee" in refused("payout", "approve", "1", "--by", "wu")
    assert "payout 1 to east-hospital: 59.99 CNY approved" in done("payout", "approve", "1", "--by", "chen")
    done("payout", "cancel", "2", "--by", "chen", "--reason", "wrong month")
    assert "payout 1 is approved, not confirmed" in refused("payout", "take-back", "1")
    listed = done("payout", "list")
    assert [state in listed for state in ("approved", "cancelled", "requested")] == [True] * 3
    assert "radmeter rails address west-hospital" in refused("payout", "approve", "3", "--by", "chen")

    done("payout", "export", "1", "--out", installed / "out")
    suffixes = {path.suffix for path in (installed / "out").glob("RM-DEFAULT-PO-000001.*")}
    assert suffixes == {".pdf", ".csv", ".xlsx", ".json"}
    assert "no payout statement 9" in refused("payout", "show", "9")
    assert done("ledger", "check") == "the books are sound\n"


def test_what_is_no_table_of_contributions_is_explained(installed: Path) -> None:
    file = installed / "bad.csv"
    for text, why in (
        ("party,weight\n", "need the columns pool, day, party, weight, evidence"),
        ("pool,day,party,weight,evidence\nhospitals,January,east-hospital,1,x\n", "row 2 needs a day"),
        ("pool,day,party,weight,evidence\nhospitals,2020-01-01,nobody,1,x\n", "not among the parties"),
        (
            "pool,day,party,weight,evidence\nhospitals,2019-01-01,east-hospital,1,x\n",
            "no contract 1 was in force",
        ),
    ):
        file.write_text(text)
        assert why in refused("contribution", "set", "1", file, "--by", "li")
    assert "promises 'east-hospital' no advance" in refused(
        "payout", "advance", "1", "data", "east-hospital", "--by", "li"
    )


def test_a_simulation_takes_the_weights_of_its_pools() -> None:
    files = (SCENARIO / "contract.yaml", SCENARIO / "usage.csv")
    assert "has no contributions" in run("contract", "simulate", *files).stderr
    assert "233.31" in done("contract", "simulate", *files, "--contributions", SCENARIO / "contributions.csv")
