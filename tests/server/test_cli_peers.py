"""`radmeter peer` and `radmeter audit` on a database of their own."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from pipeline.errors import PeerTableInvalid
from pipeline.peer_table import read_table
from tests.archive_peers import orthanc
from tests.server.commands import done, failed


def test_the_life_of_a_peer(owner: psycopg.Connection) -> None:
    done(
        "peer",
        "add",
        "CT1@10.1.2.3:104",
        "--hosts",
        "10.1.2.0/24|ct1.example",
        "--modalities",
        "CT|SR",
        "--test",
    )
    done("peer", "add", "CT1@10.1.2.4:11112", "--certificates", "cn:CT1", "--duplicates", "warning")
    shown = done("peer", "show", "CT1")
    for line in (
        "host: 10.1.2.4", "port: 11112", "hosts: 10.1.2.0/24 | ct1.example", "certificates: cn:ct1",
        "modalities: CT | SR", "duplicate_policy: warning", "is_test: True", "enabled: True",
    ):  # fmt: skip
        assert line in shown.splitlines()
    assert "10.1.2.0/24, ct1.example by certificate" in done("peer", "list")
    done("peer", "disable", "CT1")
    assert "enabled: False" in done("peer", "show", "CT1")
    done("peer", "enable", "CT1")
    assert "enabled: True" in done("peer", "show", "CT1")
    done("peer", "remove", "CT1")
    assert "no peer CT1" in failed("peer", "show", "CT1")
    assert "no peer CT1" in failed("peer", "remove", "CT1")
    changes = [json.loads(line) for line in done("audit", "export").splitlines()]
    assert [one["action"] for one in changes] == ["peer_added"] + ["peer_changed"] * 3 + ["peer_removed"]
    assert all("on the command line" in one["detail"] for one in changes)


def test_the_archive_of_a_peer_and_its_secret_which_is_never_shown(owner: psycopg.Connection) -> None:
    done("peer", "add", "CT1@10.1.2.3:104", "--archive", "VNA@10.1.2.9:11112", "--fetch-by", "get")
    shown = done("peer", "show", "CT1").splitlines()
    for line in ("query_kind: dimse", "query_ae_title: VNA", "query_port: 11112", "query_retrieve: get"):
        assert line in shown
    done("peer", "add", "CT1@10.1.2.3:104", "--archive", "https://vna.example/dicom-web")
    done("peer", "secret", "CT1", entered="open sesame\n")
    (row,) = owner.execute("SELECT query_kind, query_url, query_secret FROM peer").fetchall()
    assert row == ("dicomweb", "https://vna.example/dicom-web", "open sesame")
    for arguments in (("peer", "show", "CT1"), ("peer", "export"), ("audit", "export")):
        assert "sesame" not in done(*arguments)
    done("peer", "add", "CT1@10.1.2.3:104", "--archive", "none")
    assert "query_kind: none" in done("peer", "show", "CT1")
    assert "query_url:" in failed("peer", "add", "X@h:1", "--archive", "https://")


def test_when_the_studies_of_a_peer_are_complete_is_set_exported_and_read_back(
    owner: psycopg.Connection, tmp_path: Path
) -> None:
    done(
        "peer", "add", "CT1@10.1.2.3:104", "--quiet-time-max-s", "60", "--force-after-s", "900",
        "--force-policy", "ask", "--archive-habit", "complete",
    )  # fmt: skip
    lines = {"quiet_time_max_s: 60.0", "force_after_s: 900.0", "force_policy: ask", "archive_habit: complete"}
    assert lines <= set(done("peer", "show", "CT1").splitlines())
    file = tmp_path / "peers.csv"
    file.write_text(done("peer", "export"))
    assert done("peer", "import", file) == "0 added, 0 changed, 1 as before\n"
    assert "archive_habit:" in failed("peer", "add", "CT1@10.1.2.3:104", "--archive-habit", "full")


def test_what_cannot_be_is_refused_with_the_name_of_the_field(owner: psycopg.Connection) -> None:
    assert "hosts:" in failed("peer", "add", "CT1@10.1.2.3:104", "--hosts", "10.1.2.0/64")
    assert "certificates:" in failed("peer", "add", "CT1@10.1.2.3:104", "--certificates", "ct1")
    assert "duplicate_policy:" in failed("peer", "add", "CT1@10.1.2.3:104", "--duplicates", "ignore")
    assert done("peer", "export").count("\n") == 1


def test_a_hospital_is_set_up_from_one_file_and_written_out_again(
    owner: psycopg.Connection, tmp_path: Path
) -> None:
    lines = ["ae_title;host;port;modalities;hosts;result_destination", "PACS;10.0.0.1;11112;;;"]
    lines += [f"MOD{n};10.0.1.{n};104;ct | mr;10.0.1.0/24;PACS" for n in range(1, 81)]
    file = tmp_path / "peers.csv"
    file.write_text("\ufeff" + "\r\n".join(lines) + "\r\n", "utf-8")
    assert done("peer", "import", file, "--dry-run") == "81 would be added, 0 would be changed, 0 as before\n"
    assert done("peer", "export").count("\n") == 1
    assert done("peer", "import", file) == "81 added, 0 changed, 0 as before\n"
    exported = done("peer", "export")
    file.write_text(exported.replace("10.0.1.7,", "10.0.1.77,"), "utf-8")
    assert done("peer", "import", file) == "0 added, 1 changed, 80 as before\n"
    assert "modalities: CT | MR" in done("peer", "show", "MOD7")


def test_a_file_with_mistakes_changes_nothing_and_names_every_line(
    owner: psycopg.Connection, tmp_path: Path
) -> None:
    file = tmp_path / "peers.csv"
    file.write_text(
        "ae_title,host,port,enabled\nGOOD,10.0.0.1,104,yes\n,10.0.0.2,104,yes\nCT2,10.0.0.3,x,yes\n"
        "CT3,10.0.0.4,104,perhaps\nGOOD,10.0.0.5,104,yes\nCT4,10.0.0.6\n"
    )
    answer = failed("peer", "import", file)
    for line in (3, 4, 5, 6, 7):
        assert f"line {line}:" in answer
    assert "line 2:" not in answer
    assert done("peer", "export").count("\n") == 1


@pytest.mark.parametrize(
    "text",
    ["", "ae_title\nX\n", "ae_title,host,colour\nX,h,red\n", "\x00", 'ae_title,host\n"X,h\n', "a" * 200_000],
)
def test_what_is_no_table_of_peers_is_said_so(text: str) -> None:
    with pytest.raises(PeerTableInvalid, match="line "):
        read_table(text)


def test_the_audit_trail_is_verified_and_status_counts_alerts(owner: psycopg.Connection) -> None:
    done("peer", "add", "CT1@10.1.2.3:104")
    head = done("audit", "verify").strip()
    owner.execute("SELECT append_audit_event(NULL, 'Security Alert', 'tls_failed', 8, '{\"count\": 41}')")
    done("audit", "verify", "--known-head", head)
    assert "41 alerts in a day" in done("status")
    owner.execute("ALTER TABLE audit_event DISABLE TRIGGER USER")
    owner.execute("UPDATE audit_event SET detail = '{}' WHERE sequence = 1")
    assert "audit event 1: its hash does not fit what it says" in failed("audit", "verify")


def test_results_do_not_go_where_nobody_is(owner: psycopg.Connection, tmp_path: Path) -> None:
    said = failed("peer", "add", "CT1@10.1.2.3:104", "--results-to", "PACS")
    assert "there is no destination and no peer PACS; add it first" in said
    assert owner.execute("SELECT FROM peer").rowcount == 0
    table = tmp_path / "peers.csv"
    table.write_text("ae_title;host;port;result_destination\nCT1;h;104;PACS\n")
    assert "no peer PACS" in failed("peer", "import", table)
    table.write_text("ae_title;host;port;result_destination\nCT1;h;104;PACS\nPACS;p;104;\n")
    assert "2 added" in done("peer", "import", table)
    assert "PACS stays: results of other peers go there (CT1)" in failed("peer", "remove", "PACS")
    done("peer", "add", "CT1@h:104", "--results-to", "")
    done("peer", "remove", "PACS")


def test_an_archive_is_tested_before_a_study_needs_it(owner: psycopg.Connection, tmp_path: Path) -> None:
    done("peer", "add", "CT1@127.0.0.1:104")
    assert "no archive is set for CT1: peer add" in failed("peer", "test", "CT1")
    with orthanc(tmp_path) as archive:
        done("peer", "add", "CT1@127.0.0.1:104", "--archive", f"ORTHANC@127.0.0.1:{archive.port}")
        assert "the archive of CT1 answers" in done("peer", "test", "CT1")
        done("peer", "add", "CT1@127.0.0.1:104", "--archive-tls")
        assert "TLS handshake" in failed("peer", "test", "CT1")
        done("peer", "add", "CT1@127.0.0.1:104", "--archive", archive.url, "--archive-user", "")
        assert "the archive of CT1 answers" in done("peer", "test", "CT1")
    assert "no connection to the server" in failed("peer", "test", "CT1")
    done("peer", "add", "CT1@127.0.0.1:104", "--archive-user", "reader")
    assert "query_username: reader" in done("peer", "show", "CT1")
