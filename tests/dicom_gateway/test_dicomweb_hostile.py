"""DICOMweb servers that misbehave: each is an answer with a sentence, and no other address is ever visited."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dicom_gateway import dicomweb_client, retrieve_dicomweb
from dicom_gateway.archive_match import QueryLimits
from dicom_gateway.dicomweb_client import DicomWebServer
from dicom_gateway.file_meta import part10_header
from dicom_gateway.query_errors import DicomWebURLInvalid
from dicom_gateway.retrieved_instances import RetrievedInstances
from tests.archive_peers import CT, EXPLICIT, files_of
from tests.dicom_peers import ct_data_set

A = "1.2.3"


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers what the test's `reply` says."""

    reply: Callable[[http.server.BaseHTTPRequestHandler], None]

    def do_GET(self) -> None:
        with contextlib.suppress(OSError):
            type(self).reply(self)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def web(reply: Callable[[http.server.BaseHTTPRequestHandler], None]) -> Iterator[str]:
    handler = type("Handler", (_Handler,), {"reply": staticmethod(reply)})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def answering(
    status: int, body: bytes = b"", **headers: str
) -> Callable[[http.server.BaseHTTPRequestHandler], None]:
    def reply(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return reply


def dripping(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.1)


def endless(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", 'multipart/related; type="application/dicom"; boundary=b')
    handler.end_headers()
    handler.wfile.write(b"[" if "?" in handler.path else b"--b\r\n\r\n" + bytes(128) + b"DICM")
    while True:
        handler.wfile.write(b" " * 65536)


REPLIES = {
    "redirect": (answering(302, Location="http://127.0.0.2/"), "the server redirects; another address is not followed"),
    "unauthorized": (answering(401), "the server answers 401"),
    "broken": (answering(500), "the server answers 500"),
    "html": (answering(200, b"<html>"), None),
    "object": (answering(200, b"{}"), None),
    "deep": (answering(200, b"[" * 200_000), None),
    "gzip": (answering(200, b"x", Content_Encoding="gzip"), "the server compresses its answer"),
    "drip": (dripping, None),
    "endless": (endless, None),
}  # fmt: skip


@pytest.mark.parametrize("name", REPLIES)
class TestWeb:
    def test_a_qido_answer_that_goes_wrong_is_an_answer(self, name: str) -> None:
        reply, sentence = REPLIES[name]
        limits = QueryLimits(time_s=1.5, bytes_max=1 << 20)
        with web(reply) as url:
            started = time.monotonic()
            answer = dicomweb_client.search(
                DicomWebServer(url, timeout_s=2), "STUDY", {"PatientID": "P"}, limits
            )
            assert time.monotonic() - started < 5
        assert answer.matches == ()
        assert answer.error
        assert sentence is None or answer.error == sentence

    def test_a_wado_answer_that_goes_wrong_is_an_outcome(
        self, name: str, taken: Callable[..., RetrievedInstances], tmp_path: Path
    ) -> None:
        reply, sentence = REPLIES[name]
        with web(reply) as url:
            outcome = retrieve_dicomweb.retrieve(
                DicomWebServer(url, timeout_s=2), A, taken(time_s=1.5, instance_bytes_max=1 << 20)
            )
        assert outcome.completed == 0
        assert outcome.error
        assert sentence is None or outcome.error == sentence
        assert files_of(tmp_path) == []


def test_addresses_that_a_server_names_are_never_visited(
    taken: Callable[..., RetrievedInstances], tmp_path: Path
) -> None:
    """Attack 29: RetrieveURL, BulkDataURI and Location point at another listener, which must hear nothing."""
    hits: list[str] = []

    def victim(handler: http.server.BaseHTTPRequestHandler) -> None:
        hits.append(handler.path)

    with web(victim) as target:
        item = {
            "0020000D": {"vr": "UI", "Value": [A]},
            "00081190": {"vr": "UR", "Value": [f"{target}/retrieve"]},
            "00100010": {"vr": "PN", "BulkDataURI": f"{target}/bulk"},
            "7FE00010": {"vr": "OW", "BulkDataURI": f"{target}/pixels"},
        }
        with web(answering(200, json.dumps([item]).encode())) as url:
            answer = dicomweb_client.search(DicomWebServer(url), "STUDY", {"PatientID": "P"})
            assert [match.uid for match in answer.matches] == [A]
        with web(answering(307, Location=f"{target}/elsewhere")) as url:
            server = DicomWebServer(url, "user", "secret")
            assert dicomweb_client.search(server, "STUDY", {}).error
            assert retrieve_dicomweb.retrieve(server, A, taken()).error
    assert hits == []


def test_wado_parts_that_are_no_files_or_of_another_study_are_refused_and_the_rest_is_taken(
    taken: Callable[..., RetrievedInstances], tmp_path: Path
) -> None:
    def file(uid: str, data_set: bytes) -> bytes:
        return part10_header(CT, uid, EXPLICIT, "PACS") + data_set

    parts = [
        b"short",
        b"x" * 1000,
        file("1.2.3.6", ct_data_set("1.2.3.6", study="9.9.9")),
        file("1.2.3.7", ct_data_set("1.2.3.8")),
        part10_header(CT, "1.2.3.9", "1.2.840.10008.1.2.1.99", "PACS") + b"deflated?",
        file("1.2.3.5", ct_data_set("1.2.3.5")),
    ]
    body = (
        b"".join(b"--b\r\nContent-Type: application/dicom\r\n\r\n" + part + b"\r\n" for part in parts)
        + b"--b--"
    )
    reply = answering(200, body, Content_Type='multipart/related; type="application/dicom"; boundary=b')
    with web(reply) as url:
        outcome = retrieve_dicomweb.retrieve(DicomWebServer(url), A, taken())
    assert (outcome.completed, outcome.failed, outcome.error) == (1, 5, "5 instances were not taken")
    assert len(files_of(tmp_path)) == 1


def test_a_server_that_keeps_the_connection_after_its_last_part_is_not_waited_for(
    taken: Callable[..., RetrievedInstances],
) -> None:
    gone = threading.Event()

    def reply(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", 'multipart/related; type="application/dicom"; boundary=b')
        handler.end_headers()
        whole = part10_header(CT, "1.2.3.5", EXPLICIT, "PACS") + ct_data_set("1.2.3.5")
        handler.wfile.write(b"--b\r\n\r\n" + whole + b"\r\n--b--\r\n")
        handler.wfile.flush()
        gone.wait(20)

    with web(reply) as url:
        outcome = retrieve_dicomweb.retrieve(DicomWebServer(url, timeout_s=2), A, taken())
        gone.set()
    assert (outcome.completed, outcome.failed, outcome.error) == (1, 0, None)


@pytest.mark.parametrize(
    "secret", [("user", "secret", "Basic dXNlcjpzZWNyZXQ="), ("", "token", "Bearer token")]
)
def test_a_password_or_a_token_goes_to_the_server(secret: tuple[str, str, str]) -> None:
    seen: list[str | None] = []

    def reply(handler: http.server.BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers["Authorization"])
        answering(204)(handler)

    with web(reply) as url:
        assert dicomweb_client.search(DicomWebServer(url, secret[0], secret[1]), "STUDY", {}).error is None
    assert seen == [secret[2]]


@pytest.mark.parametrize(
    "url", ["ftp://pacs", "pacs/dicom-web", "http://", "http://a:b@pacs/", "http://pacs/?x=1", "file:///etc"]
)
def test_what_is_no_address_of_a_dicomweb_server_is_refused(url: str) -> None:
    with pytest.raises(DicomWebURLInvalid):
        DicomWebServer(url)


def test_a_secret_is_not_sent_in_the_clear() -> None:
    server = DicomWebServer("http://192.0.2.1/dicom-web", "user", "secret")
    answer = dicomweb_client.search(server, "STUDY", {"PatientID": "P"})
    assert answer.error == "a password or token is sent over https only"
