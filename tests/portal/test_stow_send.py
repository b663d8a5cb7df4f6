"""`radmeter send --to http…`: STOW-RS from the command line against a portal that runs."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from server.cli import app
from tests import stow_stub
from tests.dicom_peers import ct_data_set
from tests.portal.live_portal import LivePortal, live_portal, part10
from tests.portal.portal_site import Site
from tests.tls_files import Authority


@pytest.fixture
def live(site: Site) -> Iterator[LivePortal]:
    with live_portal(site) as portal:
        yield portal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of three slices."""
    study = tmp_path / "study"
    study.mkdir()
    for number in range(3):
        (study / f"{number}.dcm").write_bytes(part10(f"1.2.3.{number}"))
    return study


def send(*arguments: str | Path, key: str = "") -> Result:
    environment = {"RADMETER_KEY": key, "COLUMNS": "240"}
    return CliRunner().invoke(app, ["send", *map(str, arguments)], env=environment)


def test_a_folder_is_stored_and_the_key_comes_from_the_environment(live: LivePortal, folder: Path) -> None:
    result = send(folder, "--to", f"{live.url}/dicom-web", key=live.key)
    assert result.exit_code == 0, result.output
    assert "3 of 3 accepted" in result.output
    assert live.key not in result.output
    assert [row["sop_instance_uid"] for row in live.instances()] == ["1.2.3.0", "1.2.3.1", "1.2.3.2"]


def test_many_files_go_in_several_requests(live: LivePortal, tmp_path: Path) -> None:
    for number in range(70):
        (tmp_path / f"{number}.dcm").write_bytes(part10(f"1.2.3.{number}"))
    result = send(*sorted(tmp_path.glob("*.dcm")), "--to", f"{live.url}/dicom-web", "--key", live.key)
    assert result.exit_code == 0, result.output
    assert len(live.instances()) == 70


def test_what_is_not_stored_is_named_with_its_reason_and_the_exit_code_says_so(
    live: LivePortal, folder: Path
) -> None:
    (folder / "1.dcm").write_bytes(part10("1.2.3.1", ct_data_set("1.2.3.9")))
    (folder / "notes.txt").write_text("not DICOM")
    result = send(folder, "--to", f"{live.url}/dicom-web", key=live.key)
    assert result.exit_code == 1
    assert f"not accepted: {folder}/1.dcm: " in result.output
    assert "(A900H)" in result.output
    assert f"not accepted: {folder}/notes.txt: not a DICOM Part 10 file" in result.output
    assert "2 of 4 accepted" in result.output
    assert len(live.instances()) == 2


def test_a_wrong_key_stores_nothing_and_ends_at_the_first_answer(live: LivePortal, tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number}.dcm").write_bytes(part10(f"1.2.3.{number}"))
    result = send(*sorted(tmp_path.glob("*.dcm")), "--to", f"{live.url}/dicom-web", "--key", "rm_wrong")
    assert result.exit_code == 1
    assert "HTTP 401" in result.output
    assert "and 20 more" in result.output
    assert "0 of 40 accepted" in result.output
    assert live.instances() == []


def test_plain_http_goes_to_another_machine_only_when_that_is_asked_for(folder: Path) -> None:
    # TEST-NET-1 (RFC 5737) answers nobody; the refusal comes before anything is sent.
    refused = send(folder, "--to", "http://192.0.2.1/dicom-web", key="rm_key")
    assert refused.exit_code == 1
    assert "--clear-text" in refused.stderr
    assert "rm_key" not in refused.output


def test_what_is_not_an_address_is_one_line(folder: Path) -> None:
    for address in ("https://", "http://user:secret@localhost/dicom-web", "https://localhost/?a=b"):
        result = send(folder, "--to", address)
        assert result.exit_code == 1
        assert result.stderr.startswith("radmeter: not the address of a DICOMweb server")
        assert "secret" not in result.output


def test_over_https_only_a_trusted_certificate_gets_the_files(folder: Path, tmp_path: Path) -> None:
    ours, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    identity = ours.sign("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate, identity.key)

    def reply(handler: stow_stub.Handler) -> None:
        handler.take_body()
        handler.answer(200)

    with stow_stub.server(reply, context) as (url, bodies):
        unknown = send(folder, "--to", url, "--authority", other.path)
        assert "certificate is not believed" in unknown.output
        assert bodies == []
        unnamed = send(folder, "--to", url, "--authority", ours.path)
        assert len(bodies) == 1
        assert unnamed.exit_code == 1, "a success that names no instance is none"
