"""STOW-RS to Orthanc's DICOMweb plugin, and to servers that answer what a test tells them to."""

from __future__ import annotations

import json
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_gateway import deliver_stow
from dicom_gateway.deliver_stow import probe, stow_instances
from dicom_gateway.delivery_outcome import DeliveryOutcome
from dicom_gateway.dicomweb_client import DicomWebServer
from dicom_gateway.tls import client_context
from tests.archive_peers import DICOMWEB_PLUGIN, RunningArchive, orthanc
from tests.dicom_gateway.test_deliver_dimse import write_instance
from tests.ports import free_port
from tests.stow_stub import Handler, replying, response, server, to
from tests.tls_files import Authority


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [write_instance(tmp_path / f"{number}.dcm", number) for number in (1, 2, 3)]


class TestAnswers:
    def test_all_stored(self, files: list[Path]) -> None:
        progress: list[DeliveryOutcome] = []
        with server(replying(200, response(("1.2.3.1", "1.2.3.2", "1.2.3.3")))) as (url, bodies):
            outcomes = stow_instances(files, to(url), progress.append)
        assert outcomes == [
            DeliveryOutcome(f"1.2.3.{number}", 0, True, None, files[number - 1]) for number in (1, 2, 3)
        ]
        assert progress == outcomes
        assert all(path.read_bytes() in bodies[0] for path in files), "byte for byte, in one request"

    def test_each_instance_has_its_own_verdict(self, files: list[Path]) -> None:
        body = response(("1.2.3.1",), {"1.2.3.2": 0x0122}, {"1.2.3.3": 0xB000})
        with server(replying(202, body)) as (url, _):
            stored, refused, warned = stow_instances(files, to(url))
        assert (stored.acknowledged, stored.warning) == (True, None)
        assert (refused.acknowledged, refused.status, refused.is_refusal) == (False, 0x0122, True)
        assert refused.error == "SOP class not supported (0122H)"
        assert (warned.acknowledged, warned.warning) == (True, "stored with coerced attributes (B000H)")

    def test_none_stored_is_told_for_each(self, files: list[Path]) -> None:
        body = response(failed={"1.2.3.1": 0xA700, "1.2.3.2": 0xC122, "1.2.3.3": 0x0110})
        with server(replying(409, body)) as (url, _):
            outcomes = stow_instances(files, to(url))
        assert [(one.acknowledged, one.is_refusal) for one in outcomes] == [
            (False, False), (False, True), (False, False),
        ]  # fmt: skip

    def test_an_instance_that_the_answer_does_not_name_is_not_acknowledged(self, files: list[Path]) -> None:
        with server(replying(200, response(("1.2.3.1",)))) as (url, _):
            outcomes = stow_instances(files, to(url))
        assert [one.acknowledged for one in outcomes] == [True, False, False]
        assert outcomes[1].error == "the server answers HTTP 200 and does not name this instance"

    @pytest.mark.parametrize("code", [400, 409, 500, 503])
    def test_a_failure_that_names_stored_instances_stores_nothing(self, files: list[Path], code: int) -> None:
        with server(replying(code, response(("1.2.3.1", "1.2.3.2", "1.2.3.3")))) as (url, _):
            assert not any(one.acknowledged for one in stow_instances(files, to(url)))

    @pytest.mark.parametrize(
        "body", [b"", b"<html>Welcome</html>", b"[]", b"[1]", b'{"00081199": 5}', b"[" * 100_000], ids=len
    )
    def test_a_success_without_the_list_is_none(self, files: list[Path], body: bytes) -> None:
        """A proxy, a sign-in page, a server that does not speak JSON."""
        with server(replying(200, body)) as (url, _):
            outcomes = stow_instances(files, to(url))
        assert not any(one.acknowledged for one in outcomes)
        assert all("HTTP 200" in str(one.error) for one in outcomes)

    @pytest.mark.parametrize("code", [400, 409, 415])
    def test_a_request_refused_for_one_instance_is_sent_again_one_by_one(
        self, files: list[Path], code: int
    ) -> None:
        """The server knows the SOP class of the second one not, and names no instance."""

        def reply(handler: Handler) -> None:
            body = handler.take_body()
            named = [uid for uid in ("1.2.3.1", "1.2.3.2", "1.2.3.3") if uid.encode() in body]
            if "1.2.3.2" in named:
                handler.answer(code)
            else:
                handler.answer(200, response(tuple(named)), Content_Type="application/dicom+json")

        with server(reply) as (url, bodies):
            outcomes = stow_instances(files, to(url))
        assert [one.acknowledged for one in outcomes] == [True, False, True]
        assert len(bodies) == 4

    @pytest.mark.parametrize("code", [400, 401, 403, 404, 413, 415, 422])
    def test_what_somebody_must_mend_first_is_a_refusal(self, files: list[Path], code: int) -> None:
        with server(replying(code)) as (url, _):
            outcomes = stow_instances(files, to(url))
        assert all(one.is_refusal and f"HTTP {code}" in str(one.error) for one in outcomes)

    @pytest.mark.parametrize(
        ("code", "header", "seconds"), [(503, "7", 7.0), (429, "junk", None), (500, "", None)]
    )
    def test_what_may_pass_is_not_and_the_server_says_when(
        self, files: list[Path], code: int, header: str, seconds: float | None
    ) -> None:
        with server(replying(code, Retry_After=header)) as (url, _):
            outcomes = stow_instances(files, to(url))
        assert all((one.is_refusal, one.retry_after_s) == (False, seconds) for one in outcomes)

    def test_a_redirect_is_not_followed(self, files: list[Path]) -> None:
        with (
            server(replying(200, response(("1.2.3.1",)))) as (other, elsewhere),
            server(replying(307, Location=f"{other}/studies")) as (url, _),
        ):
            outcomes = stow_instances(files, to(url))
        assert elsewhere == []
        assert {one.error for one in outcomes} == {"the server redirects; another address is not followed"}


class TestServersThatFail:
    def test_nobody_listens(self, files: list[Path]) -> None:
        outcomes = stow_instances(files, to(f"http://127.0.0.1:{free_port()}"))
        assert {one.error for one in outcomes} == {"no connection to the server"}

    def test_it_hangs_up_in_the_middle(self, tmp_path: Path) -> None:
        big = write_instance(tmp_path / "big.dcm")
        with big.open("ab") as file:
            file.truncate(64 << 20)

        def reply(handler: Handler) -> None:
            handler.rfile.read(1000)
            handler.connection.close()

        with server(reply) as (url, _):
            (outcome,) = stow_instances([big], to(url))
        assert not outcome.acknowledged
        assert str(outcome.error).startswith("the transfer failed")

    @pytest.mark.parametrize("is_read", [True, False])
    def test_it_never_answers(self, tmp_path: Path, is_read: bool) -> None:
        """It takes the request and is silent, or it does not even take it."""
        big = write_instance(tmp_path / "big.dcm")
        with big.open("ab") as file:
            file.truncate(64 << 20)
        done = threading.Event()

        def reply(handler: Handler) -> None:
            if is_read:
                handler.take_body()
            done.wait(20)

        started = time.monotonic()
        with server(reply) as (url, _):
            (outcome,) = stow_instances([big], to(url, 1.0))
            done.set()
        assert outcome.error == "the server did not answer in time"
        assert time.monotonic() - started < 15

    def test_it_answers_without_end(self, files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(deliver_stow, "_ANSWER_BYTES_MAX", 100_000)
        with server(replying(200, b" " * 1_000_000)) as (url, _):
            outcomes = stow_instances(files, to(url))
        assert {one.error for one in outcomes} == {"the server sends more than we take"}

    def test_a_file_that_is_no_dicom_is_an_outcome_and_the_rest_is_sent(
        self, files: list[Path], tmp_path: Path
    ) -> None:
        text = tmp_path / "notes.txt"
        text.write_text("not DICOM")
        with server(replying(200, response(("1.2.3.1",)))) as (url, bodies):
            bad, good = stow_instances([text, files[0]], to(url))
        assert (bad.acknowledged, good.acknowledged) == (False, True)
        assert b"not DICOM" not in bodies[0]


class TestTLS:
    def test_a_server_that_an_authority_signed_is_believed_and_no_other(
        self, files: list[Path], tmp_path: Path
    ) -> None:
        ours, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
        identity = ours.sign("127.0.0.1")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity.certificate, identity.key)
        with server(replying(200, response(("1.2.3.1", "1.2.3.2", "1.2.3.3"))), context) as (url, bodies):
            known = stow_instances(files, to(url, tls=client_context(authorities=ours.path)))
            unknown = stow_instances(files, to(url, tls=client_context(authorities=other.path)))
        assert all(one.acknowledged for one in known)
        assert {one.error for one in unknown} == {
            "the certificate is not believed: unable to get local issuer certificate"
        }
        assert len(bodies) == 1

    def test_the_token_is_sent_and_shown_nowhere(self, files: list[Path]) -> None:
        seen: list[str] = []

        def reply(handler: Handler) -> None:
            seen.append(handler.headers["Authorization"])
            handler.take_body()
            handler.answer(401)

        with server(reply) as (url, _):
            outcomes = stow_instances(files, to(url, secret="s3cret"))
        assert seen == ["Bearer s3cret"]
        assert "s3cret" not in str(outcomes)


class TestProbe:
    @pytest.mark.parametrize(
        ("code", "words"),
        [
            (400, None),
            (415, None),
            (503, None),
            (401, "does not let us in"),
            (404, "no STOW-RS service"),
            (500, "problem"),
        ],
    )
    def test_it_tells_what_is_there(self, code: int, words: str | None) -> None:
        with server(replying(code)) as (url, _):
            said = probe(DicomWebServer(url))
        assert (said is None) if words is None else words in str(said)

    def test_nobody_is_there(self) -> None:
        assert probe(DicomWebServer(f"http://127.0.0.1:{free_port()}")) == "no connection to the server"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArchive]:
    if not DICOMWEB_PLUGIN.exists():
        pytest.skip("orthanc-dicomweb is not installed")
    with orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.mark.peer
class TestOrthanc:
    def test_what_it_acknowledges_it_has(self, archive: RunningArchive, shared_data: Path) -> None:
        paths = [
            shared_data / "basic/CT_small.dcm",
            shared_data / "ct_chest_4dlung_113/rtstruct/rtstruct.dcm",
            shared_data / "ct_chest_lidc0314_1mm/dicom/0001.dcm",
        ]
        outcomes = stow_instances(paths, to(archive.url, 30.0))
        assert [(one.acknowledged, one.error) for one in outcomes] == [(True, None)] * 3
        with urllib.request.urlopen(f"{archive.url}/instances") as answer:
            listed = {item["00080018"]["Value"][0] for item in json.load(answer)}
        assert {one.sop_instance_uid for one in outcomes} <= listed
        assert all(one.acknowledged for one in stow_instances(paths, to(archive.url, 30.0))), "sent again"

    def test_it_is_probed(self, archive: RunningArchive) -> None:
        assert probe(DicomWebServer(archive.url)) is None
        assert "no STOW-RS" in str(probe(DicomWebServer(archive.url.replace("/dicom-web", "/nothing"))))
