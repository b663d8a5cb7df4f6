"""Addresses that somebody typed in: what is not public is not reached, and no answer is endless."""

from __future__ import annotations

import itertools
import socket
import time
from typing import Any

import pytest

from pipeline.errors import NotReached
from pipeline.ways_out.guarded_http import request
from tests.pipeline.ways_out.http_receiver import Handler, answer, http_receiver


def ask(url: str, **changes: Any) -> bytes:
    values: dict[str, Any] = {"timeout_s": 3.0, "answer_bytes_max": 10_000} | changes
    return request("POST", url, {"Content-Length": "2"}, b"{}", **values).body


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "0x7f000001", "2130706433", "127.1", "0.0.0.0", "[::ffff:127.0.0.1]", "[::1]"],
)
def test_what_is_this_machine_in_other_clothes_is_not_reached(host: str) -> None:
    with http_receiver(answer()) as receiver:
        with pytest.raises(NotReached, match="private network"):
            ask(f"http://{host}:{receiver.port}/hook")
        assert receiver.requests == []


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "::1",
        "fe80::1", "fd00::1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "::ffff:10.0.0.1",
    ],
)  # fmt: skip
def test_a_name_that_means_a_private_address_is_not_reached(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Also beside a public one."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 443)) for one in ("93.184.215.14", address)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("connected"))
    with pytest.raises(NotReached, match="private network"):
        ask("https://hook.example/x")


def test_a_name_that_changes_its_meaning_after_the_check_gains_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding: the address that was checked is the one that is connected to."""
    answers = itertools.chain(["93.184.215.14"], itertools.repeat("127.0.0.1"))
    asked: list[str] = []

    def resolve(host: str, port: int, **_: object) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    connected: list[Any] = []

    def connect(address: Any, *_: object, **__: object) -> socket.socket:
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(NotReached, match="no connection"):
        ask("https://rebind.example/x")
    assert (asked, connected) == (["rebind.example"], [("93.184.215.14", 443)])


def test_a_host_that_was_named_as_private_is_reached() -> None:
    with http_receiver(answer(body=b"yes")) as receiver:
        assert ask(receiver.url, private_hosts=["127.0.0.1"]) == b"yes"
        with pytest.raises(NotReached, match="private network"):
            ask(receiver.url, private_hosts=["localhost"])


def drip(handler: Handler, _: bytes) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for _number in range(100):
        handler.wfile.write(b"x")
        handler.wfile.flush()
        time.sleep(0.1)


def endless(handler: Handler, _: bytes) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _number in range(1_000_000):
        handler.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")


def hang(handler: Handler, _: bytes) -> None:
    time.sleep(4)


def garbage(handler: Handler, _: bytes) -> None:
    handler.wfile.write(bytes(range(256)) * 100)


def close(handler: Handler, _: bytes) -> None:
    handler.connection.close()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (drip, "in time"),
        (hang, "in time"),
        (endless, "more than we take"),
        (garbage, "transfer failed"),
        (close, "transfer failed"),
        (answer(body=b"x", Content_Encoding="gzip"), "compresses"),
    ],
)
def test_whatever_a_server_does_it_ends_soon_with_a_sentence(script: Any, words: str) -> None:
    with http_receiver(script) as receiver:
        started = time.monotonic()
        with pytest.raises(NotReached, match=words):
            ask(receiver.url, private_hosts=["127.0.0.1"], timeout_s=1.0)
        assert time.monotonic() - started < 3
