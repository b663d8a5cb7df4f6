"""`radmeter query` and `radmeter fetch` against a real archive."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from click.testing import Result
from psycopg.rows import dict_row
from typer.testing import CliRunner

from server.cli import app
from tests import archive_peers
from tests.archive_peers import RunningArchive, write_study

pytestmark = pytest.mark.peer

A = "1.2.826.1"


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArchive]:
    with archive_peers.orthanc(tmp_path_factory.mktemp("orthanc")) as archive:
        archive.store(
            write_study(tmp_path_factory.mktemp("study"), A, (3, 2), StudyDescription="CT [red]Thorax")
        )
        yield archive


@pytest.fixture
def owner(migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    for name in list(os.environ):
        if name.startswith("RADMETER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RADMETER_DATA", str(tmp_path))
    monkeypatch.setenv("RADMETER_DATABASE_URL", migrated_url)
    monkeypatch.setenv("COLUMNS", "240")
    with psycopg.connect(migrated_url, autocommit=True, row_factory=dict_row) as conn:
        conn.execute(
            "INSERT INTO tenant (tenant, name, called_ae_title) VALUES ('default', 'Clinic', 'RADMETER')"
        )
        conn.execute(
            "INSERT INTO peer (tenant, ae_title, host, port) VALUES ('default', 'PACS', '127.0.0.1', 104)"
        )
        yield conn


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def done(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("language", ["dimse", "dicomweb"])
def test_an_archive_is_asked_by_its_address(
    orthanc: RunningArchive, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "240")
    to = orthanc.url if language == "dicomweb" else f"ORTHANC@127.0.0.1:{orthanc.port}"
    studies = done("query", to, "--patient-id", "P1")
    assert A in studies
    assert "CT [red]Thorax" in studies, "what an archive says is no markup"
    assert f"{A}.2" in done("query", to, "--study-uid", A)
    assert "3 matches" in done("query", to, "--study-uid", A, "--series-uid", f"{A}.1")
    assert done("query", to, "--patient-id", "P404") == "0 matches\n"


def test_what_cannot_be_asked_is_one_line_on_stderr(
    orthanc: RunningArchive, owner: psycopg.Connection
) -> None:
    nobody = f"PACS@127.0.0.1:{archive_peers.free_port()}"
    for arguments, words in (
        ([nobody], "no connection to the peer"),
        (["nonsense"], "is not AE@host:port"),
        ([], "give either an address or --peer"),
        (["--peer", "PACS"], "no archive is set for a peer PACS"),
        ([nobody, "--series-uid", "1.2"], "--series-uid needs --study-uid"),
        ([nobody, "--study-uid", "../x"], "UID"),
    ):
        result = run("query", *arguments)
        assert result.exit_code == 1
        assert "Traceback" not in result.output
        assert words in result.stderr, result.stderr


def test_the_archive_of_a_peer_is_set_asked_and_fetched_from(
    orthanc: RunningArchive, owner: psycopg.Connection
) -> None:
    archive = f"ORTHANC@127.0.0.1:{orthanc.port}"
    done("peer", "add", "PACS@127.0.0.1:104", "--archive", archive, "--fetch-by", "get")
    assert A in done("query", "--peer", "PACS", "--patient-id", "P1")
    assert done("fetch", "--peer", "PACS", "--study-uid", A) == "5 images fetched, 0 not\n"
    (study,) = owner.execute("SELECT status, purpose, ae_title FROM study").fetchall()
    assert study == {"status": "receiving", "purpose": "clinical", "ae_title": "PACS"}
    assert len(owner.execute("SELECT 1 FROM procrastinate_jobs WHERE task_name = 'assemble'").fetchall()) == 1


def test_a_prior_is_fetched_over_the_web(orthanc: RunningArchive, owner: psycopg.Connection) -> None:
    done("peer", "add", "PACS@127.0.0.1:104", "--archive", orthanc.url)
    assert done("fetch", "--peer", "PACS", "--study-uid", A, "--prior") == "5 images fetched, 0 not\n"
    assert owner.execute("SELECT purpose FROM study").fetchall() == [{"purpose": "prior"}]
    missing = run("fetch", "--peer", "PACS", "--study-uid", "1.2.3.404")
    assert missing.exit_code == 1
    assert missing.stderr.startswith("radmeter: ")
