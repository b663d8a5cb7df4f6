"""`radmeter verdicts export` on a real database: places, sizes and verdicts, and nobody's name."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row
from typer.testing import CliRunner

from pipeline import reviews
from pipeline.database import Database
from pipeline.queue import deferring_app
from server.cli import app
from study.review import Verdict, VerdictKind
from tests.review_seed import DELIVERED_AT, PRODUCT, seed_result

AT = DELIVERED_AT + timedelta(days=1)


def test_each_verdict_is_a_line_with_its_images_and_without_a_patient(
    tmp_path: Path, migrated_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RADMETER_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("RADMETER_DATABASE_URL", migrated_url)
    with psycopg.connect(migrated_url, autocommit=True, row_factory=dict_row) as owner:
        owner.execute(
            "INSERT INTO tenant (tenant, name, called_ae_title) VALUES ('default', 'D', 'RADMETER')"
        )
        seeded = seed_result(owner, tmp_path / "data", "default", patient="MARK^PATIENT")
    database, queue = Database(migrated_url), deferring_app(migrated_url)
    place = (str(seeded.headers[3].SOPInstanceUID), 20.0, 30.0)
    words = (
        Verdict(seeded.uids[0], VerdictKind.ACCEPT, "dr chen", AT, note="MARK is her name"),
        Verdict(seeded.uids[1], VerdictKind.EDIT, "dr chen", AT, size_mm=8.0),
        Verdict("2.25.9", VerdictKind.MISSED, "dr li", AT, place=place, label="nodule"),
    )
    with database.transaction("default") as conn:
        for word in words:
            result = reviews.open_result(conn, "default", seeded.study_id, 1, PRODUCT, lock=True)
            reviews.say(conn, result, word, seen=99)
    out = tmp_path / "lines.jsonl"
    arguments = ["verdicts", "export", "--model", PRODUCT, "--out", str(out), "--since"]
    assert CliRunner().invoke(app, [*arguments, "2026-11-01"]).exit_code == 0
    assert out.read_text() == ""  # nobody has finished it
    with database.transaction("default") as conn:
        result = reviews.open_result(conn, "default", seeded.study_id, 1, PRODUCT, lock=True)
        reviews.finish(queue, conn, result, by="dr chen", at=AT, seen=99)
    queue.close()
    database.close()
    assert CliRunner().invoke(app, [*arguments, "2026-12-01"]).exit_code == 0
    assert out.read_text() == ""  # later than all that was said
    assert CliRunner().invoke(app, [*arguments, "2026-11-01"]).exit_code == 0
    text = out.read_text()
    for secret in ("MARK", "dr chen", "P-1", "A-1"):
        assert secret not in text
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["about"], line.get("verdict")) for line in lines] == [
        ("finding", "accept"), ("finding", "edit"), ("finding", "missed"), ("result", None),
    ]  # fmt: skip
    assert {line["study_instance_uid"] for line in lines} == {"1.2.3"}
    assert {line["series_instance_uid"] for line in lines} == {"1.2.3.4"}
    assert lines[1]["size_mm"] == 8.0
    assert lines[1]["said_by_model"]["slice_sop_instance_uid"].startswith("1.2.3.4.")
    assert lines[2]["place"] == {
        "sop_instance_uid": place[0],
        "frame_number": None,
        "column": 20.0,
        "row": 30.0,
    }
    assert lines[0]["reader"] != lines[2]["reader"]
    noted = CliRunner().invoke(app, [*arguments, "2026-11-01", "--with-notes"])
    assert noted.exit_code == 0
    assert "MARK is her name" in out.read_text()
