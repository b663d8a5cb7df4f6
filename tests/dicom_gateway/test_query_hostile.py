"""Archives that misbehave when they are asked: each is an answer with a sentence, in bounded time and memory."""

from __future__ import annotations

import contextlib
import resource
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE, evt
from pynetdicom.dimse_primitives import C_STORE

from dicom_gateway import retrieve_dimse
from dicom_gateway.archive_match import QueryLimits
from dicom_gateway.query_dimse import STUDY_ROOT_FIND, find
from dicom_gateway.retrieved_instances import RetrievedInstances
from dicom_gateway.scu_association import Destination
from tests.archive_peers import CT, EXPLICIT, files_of
from tests.dicom_peers import RawPeer, ct_data_set

A = "1.2.3"


@contextmanager
def listening(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A peer that does what `talk` does with each connection; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection, contextlib.suppress(OSError):
                    talk(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=20)


def destination(port: int) -> Destination:
    return Destination("127.0.0.1", port, "PACS", "RADMETER", acse_timeout_s=5, dimse_timeout_s=5)


def accept(connection: socket.socket) -> None:
    """Read A-ASSOCIATE-RQ, accept the first context, read the first request."""
    request = connection.recv(64 * 1024)
    item = RawPeer.item
    answer = item(0x10, b"1.2.840.10008.3.1.1.1")
    answer += item(0x21, bytes((1, 0, 0, 0)) + item(0x40, EXPLICIT.encode()))
    answer += item(0x50, item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3"))
    connection.sendall(RawPeer.pdu(2, request[6:74] + answer))
    connection.recv(64 * 1024)


def find_response(identifier: bytes = b"", status: int = 0xFF00) -> bytes:
    def element(number: int, value: bytes) -> bytes:
        return struct.pack("<HHI", 0, number, len(value)) + value

    body = element(0x0002, STUDY_ROOT_FIND.encode() + b"\0") + element(0x0100, struct.pack("<H", 0x8020))
    body += element(0x0120, struct.pack("<H", 1)) + element(0x0800, struct.pack("<H", 0x0001))
    body += element(0x0900, struct.pack("<H", status))
    command = element(0, struct.pack("<I", len(body))) + body
    return RawPeer.fragment(3, command) + RawPeer.fragment(2, identifier)


def study_match(uid: str) -> bytes:
    value = uid.encode() + b"\0" * (len(uid) % 2)
    return struct.pack("<HH2sH", 0x0020, 0x000D, b"UI", len(value)) + value


def stall(connection: socket.socket) -> None:
    accept(connection)
    connection.sendall(find_response(study_match(A))[:40])
    connection.recv(1)


def drip(connection: socket.socket) -> None:
    accept(connection)
    for byte in find_response(study_match(A)):
        connection.sendall(bytes((byte,)))
        time.sleep(0.1)


def reset(connection: socket.socket) -> None:
    accept(connection)
    connection.sendall(find_response(study_match(A)))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def huge_pdu(connection: socket.socket) -> None:
    accept(connection)
    connection.sendall(struct.pack(">BxI", 4, 0xFFFF_FFF0))
    for _ in range(64):
        connection.sendall(bytes(1 << 20))


def endless_identifier(connection: socket.socket) -> None:
    accept(connection)
    connection.sendall(find_response()[: -len(RawPeer.fragment(2, b""))])
    for _ in range(8192):
        connection.sendall(RawPeer.fragment(0, bytes(16_000)))


def endless_matches(connection: socket.socket) -> None:
    accept(connection)
    for number in range(10**9):
        connection.sendall(find_response(study_match(f"1.2.{number}")))


def noise(connection: socket.socket) -> None:
    accept(connection)
    connection.sendall(RawPeer.fragment(3, b"\xff" * 200) * 5)


@pytest.mark.parametrize("talk", [stall, drip, reset, huge_pdu, endless_identifier, endless_matches, noise])
def test_a_c_find_that_goes_wrong_is_an_answer_in_bounded_time_and_memory(
    talk: Callable[[socket.socket], None],
) -> None:
    threads = threading.active_count()
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with listening(talk) as port:
        started = time.monotonic()
        answer = find(destination(port), "STUDY", {"PatientID": "P"}, QueryLimits(matches_max=50, time_s=2))
        assert time.monotonic() - started < 8
        assert answer.error
        assert len(answer.matches) <= 50
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 24 * 1024
    deadline = time.monotonic() + 10
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= threads, "no thread is left behind"


@pytest.mark.parametrize(
    "identifier",
    [
        b"",
        study_match("../../etc/passwd"),
        study_match("1" * 70),
        b"\xff" * 60,
        struct.pack("<HH2sHI", 0x0008, 0x1110, b"SQ", 0, 0xFFFFFFFF)
        + b"\xfe\xff\x00\xe0\xff\xff\xff\xff" * 2000,
    ],
)
def test_a_match_that_cannot_be_used_is_left_out_and_the_others_are_kept(identifier: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        accept(connection)
        connection.sendall(find_response(identifier) + find_response(study_match(A)))
        connection.recv(1)

    with listening(talk) as port:
        answer = find(destination(port), "STUDY", {"PatientID": "P"}, QueryLimits(time_s=1))
    assert [match.uid for match in answer.matches] == [A]
    assert answer.unusable >= 1


def c_get_peer(store: Callable[[Any], None]) -> Any:
    """A pynetdicom provider of C-GET whose `store` sends what it likes on the association."""
    entity = AE(ae_title="PACS")
    entity.add_supported_context(retrieve_dimse.STUDY_ROOT_GET)
    entity.add_supported_context(CT, EXPLICIT, scu_role=True, scp_role=True)

    def handle(event: Any) -> Iterator[Any]:
        store(event.assoc)
        yield 0

    return entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_GET, handle)])


def send_raw(assoc: Any, data_set: bytes, announced_uid: str) -> int:
    """A C-STORE of these bytes under this SOP Instance UID."""
    request = C_STORE()
    request.MessageID, request.Priority = 7, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = CT, announced_uid
    request.DataSet = BytesIO(data_set)
    context = next(one for one in assoc.accepted_contexts if one.abstract_syntax == CT)
    assoc.dimse.send_msg(request, context.context_id)
    _, response = assoc.dimse.get_msg(block=True)
    return int(response.Status)


def test_c_get_takes_only_the_study_that_was_asked_for_and_instances_that_are_what_they_say(
    taken: Callable[..., RetrievedInstances], tmp_path: Path
) -> None:
    statuses: list[int] = []

    def store(assoc: Any) -> None:
        statuses.append(send_raw(assoc, ct_data_set("1.2.3.5"), "1.2.3.5"))
        statuses.append(send_raw(assoc, ct_data_set("1.2.3.6", study="9.9.9"), "1.2.3.6"))
        statuses.append(send_raw(assoc, ct_data_set("1.2.3.7"), "1.2.3.8"))
        statuses.append(send_raw(assoc, ct_data_set("1.2.3.5", pixel_bytes=4096), "1.2.3.5"))
        statuses.append(send_raw(assoc, b"no data set", "1.2.3.9"))

    server = c_get_peer(store)
    try:
        outcome = retrieve_dimse.get(destination(server.socket.getsockname()[1]), A, taken(), [CT])
    finally:
        server.shutdown()
    assert statuses == [0x0000, 0xC000, 0xA900, 0x0111, 0xC000]
    assert (outcome.completed, outcome.failed, outcome.error) == (1, 4, "4 instances were not taken")
    stored = [path for path in files_of(tmp_path) if "quarantine" not in path.parts]
    assert len(stored) == 1


def test_c_get_of_an_instance_that_is_too_large_is_cut_off(
    taken: Callable[..., RetrievedInstances], tmp_path: Path
) -> None:
    def store(assoc: Any) -> None:
        with contextlib.suppress(Exception):
            send_raw(assoc, ct_data_set("1.2.3.5", pixel_bytes=8 << 20), "1.2.3.5")

    server = c_get_peer(store)
    try:
        port = server.socket.getsockname()[1]
        outcome = retrieve_dimse.get(destination(port), A, taken(instance_bytes_max=1 << 20), [CT])
    finally:
        server.shutdown()
    assert outcome.completed == 0
    assert outcome.error == "the peer sends more than we take"
    assert files_of(tmp_path) == []


def test_a_c_get_that_stalls_ends_in_time(taken: Callable[..., RetrievedInstances], tmp_path: Path) -> None:
    with listening(stall) as port:
        started = time.monotonic()
        outcome = retrieve_dimse.get(destination(port), A, taken(time_s=1), [CT])
        assert time.monotonic() - started < 6
    assert outcome.error
    assert files_of(tmp_path) == []
