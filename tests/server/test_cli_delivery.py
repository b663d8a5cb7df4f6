"""radmeter destination and radmeter delivery, on a database as an administrator finds it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row
from typer.testing import CliRunner, Result

from server.cli import app
from tests.scripted_pacs import ScriptedPacs

Command = Callable[..., Result]


@pytest.fixture
def radmeter(migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`radmeter("destination", "list")` on a database with the tenant `default`."""
    monkeypatch.setenv("RADMETER_DATABASE_URL", migrated_url)
    monkeypatch.setenv("RADMETER_DATA", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    with psycopg.connect(migrated_url, autocommit=True) as conn:
        conn.execute("INSERT INTO tenant (tenant, name, called_ae_title) VALUES ('default', 'x', 'RADMETER')")
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def done(result: Result) -> str:
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_a_destination_is_added_shown_changed_and_removed(radmeter: Command) -> None:
    done(
        radmeter(
            "destination",
            "add",
            "archive",
            "ARCHIVE@10.0.0.7:104",
            "--kinds",
            "sr,seg",
            "--no-required",
            "--fallbacks",
            "sc,pdf",
        )
    )
    assert "ARCHIVE@10.0.0.7:104" in done(radmeter("destination", "list"))
    shown = done(radmeter("destination", "show", "archive"))
    assert "object_kinds: SR, SEG" in shown
    assert "fallbacks: SC, PDF" in shown
    assert "required: False" in shown
    done(radmeter("destination", "add", "archive", "https://pacs.test/dicom-web", "--token", "pacs-token"))
    assert "url: https://pacs.test/dicom-web" in done(radmeter("destination", "show", "archive"))
    done(radmeter("destination", "remove", "archive"))
    assert radmeter("destination", "show", "archive").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add", "x", "http://pacs.test"), "Plain http must be allowed"),
        (("add", "x", "A@h:104", "--kinds", "EXE"), "Choose at least one kind"),
        (("add", "x", "A@h:104", "--authority", "../ca.pem"), "without a path"),
        (("add", "x", "A@h:104", "--fallbacks", "SC,SEG"), "Fall-backs are SR2D, TEXT, GSPS, SC and PDF"),
        (("remove", "x"), "no destination x"),
        (("test", "x"), "no destination or peer x"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_one_line(radmeter: Command, arguments: tuple[str, ...], words: str) -> None:
    result = radmeter("destination", *arguments)
    assert result.exit_code == 1
    assert words in result.stderr


def test_a_destination_is_asked_whether_it_is_there(radmeter: Command, free_port: int) -> None:
    with ScriptedPacs.listening() as pacs:
        done(radmeter("destination", "add", "pacs", f"PACS@127.0.0.1:{pacs.port}"))
        assert "answers" in done(radmeter("destination", "test", "pacs"))
    done(radmeter("destination", "add", "pacs", f"PACS@127.0.0.1:{free_port}"))
    assert "no connection to the peer" in radmeter("destination", "test", "pacs").stderr
    done(
        radmeter(
            "destination", "add", "pacs", f"PACS@127.0.0.1:{free_port}", "--tls", "--authority", "ca.pem"
        )
    )
    assert "no file ca.pem in the folder of secrets" in radmeter("destination", "test", "pacs").stderr


def test_what_was_given_up_is_listed_and_sent_again(radmeter: Command, migrated_url: str) -> None:
    with psycopg.connect(migrated_url, autocommit=True, row_factory=dict_row) as conn:
        row = conn.execute(
            """INSERT INTO study (tenant, study_instance_uid, ae_title, status, reason_code)
               VALUES ('default', '1.2.3', 'PACS', 'failed', 'DELIVERY_GAVE_UP') RETURNING id::text"""
        ).fetchone()
        assert row is not None
        conn.execute(
            """INSERT INTO result_object (tenant, sop_instance_uid, study_id, revision, product, kind, location,
                 sha256, size_bytes) VALUES ('default', '1.2.4', %s, 1, 'x', 'SEG', 'x', 'x', 1)""",
            (row["id"],),
        )
        conn.execute(
            """INSERT INTO delivery (tenant, sop_instance_uid, destination, study_id, state, last_error)
               VALUES ('default', '1.2.4', 'PACS', %s, 'dead', 'no connection to the peer')""",
            (row["id"],),
        )
        listed = done(radmeter("delivery", "list"))
        assert all(word in listed for word in (row["id"], "SEG", "PACS", "dead", "no connection to the peer"))
        assert "sent again to PACS" in done(radmeter("delivery", "retry", row["id"]))
        assert radmeter("delivery", "retry", row["id"]).exit_code == 1, "nothing is left"
        states = conn.execute("SELECT state FROM delivery").fetchall()
        jobs = conn.execute("SELECT task_name FROM procrastinate_jobs").fetchall()
    assert ([one["state"] for one in states], [one["task_name"] for one in jobs]) == (
        ["waiting"],
        ["take_step"],
    )


def test_ways_out_that_are_no_pacs_are_added_and_tested(
    radmeter: Command, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(
        radmeter(
            "destination", "add", "emr", "https://emr.test/fhir", "--kind", "fhir", "--events", "reviewed,refused",
            "--private-hosts", "emr.test", "--patient-system", "urn:oid:1.2", "--with-pdf", "--no-required",
        )
    )  # fmt: skip
    shown = done(radmeter("destination", "show", "emr"))
    assert all(
        line in shown
        for line in (
            "object_kinds: FHIR",
            "events: reviewed, refused",
            "private_hosts: emr.test",
            "with_pdf: True",
        )
    )
    done(radmeter("destination", "add", "ris", f"127.0.0.1:{free_port}", "--kind", "hl7"))
    assert "no connection to the receiver" in radmeter("destination", "test", "ris").stderr
    done(radmeter("destination", "add", "duty", "duty@hospital.test,it@hospital.test", "--kind", "email"))
    assert "no mail server is set up: RADMETER_SMTP_URL" in radmeter("destination", "test", "duty").stderr
    monkeypatch.setenv("RADMETER_SMTP_URL", f"smtp+plain://127.0.0.1:{free_port}")
    monkeypatch.setenv("RADMETER_SMTP_FROM", "radmeter@hospital.test")
    assert "ConnectionRefusedError" in radmeter("destination", "test", "duty").stderr
    monkeypatch.setenv("RADMETER_SMTP_FROM", "nobody")
    assert "smtp_url" in radmeter("destination", "test", "duty").stderr
    assert (
        "A webhook is signed"
        in radmeter("destination", "add", "x", "https://h.test", "--kind", "webhook").stderr
    )
    listed = done(radmeter("destination", "list"))
    assert "duty@hospital.test, it@hospital.test" in listed


def test_which_kinds_a_destination_refuses_is_listed_with_what_stands_there(
    radmeter: Command, migrated_url: str
) -> None:
    with psycopg.connect(migrated_url, autocommit=True) as conn:
        row = conn.execute(
            "INSERT INTO study (tenant, study_instance_uid, ae_title) VALUES ('default', '1.2', 'PACS') RETURNING id"
        ).fetchone()
        assert row is not None
        conn.execute(
            """INSERT INTO result_object (tenant, sop_instance_uid, study_id, revision, product, kind, location, sha256,
                 size_bytes) VALUES ('default', '1.2.3', %s, 1, 'lung_nodule_ct', 'SEG', 'x', 'x', 1)""",
            row,
        )
        conn.execute(
            """INSERT INTO delivery (tenant, sop_instance_uid, destination, study_id, state, replaced_by, last_error)
               VALUES ('default', '1.2.3', 'archive', %s, 'replaced', 'SR', 'SOP class not supported (0122H)')""",
            row,
        )
    listed = done(radmeter("delivery", "replaced"))
    assert all(word in listed for word in ("archive", "SEG", "SR", "SOP class not supported"))
    assert "SEG" not in done(radmeter("delivery", "list")), "nobody is needed"
