"""A thousand malformed PDUs in `make test`, a hundred thousand in `make soak`, and what must hold after them."""

from __future__ import annotations

import gc
import logging
import os
import random
import socket
import sys
import threading
from collections import Counter

import pytest

from tests.dicom_gateway.malformed_pdus import CONTEXTS, malformed
from tests.dicom_harm import assert_alive, rss_bytes
from tests.dicom_peers import MemoryDesk, MemorySink, RawPeer, RunningAcceptor, StartAcceptor, wait_until

_ANSWERS = {2: "accepted", 3: "rejected", 4: "answered", 6: "released", 7: "aborted", 0: "closed"}


def say(port: int, number: int, is_associated: bool, data: bytes) -> str:
    """Send it, hang up our side, and read to the end what the acceptor makes of it; returns its last word."""
    last = "closed"
    # Closed connections hold their ports for a minute; those of 127.0.0.1 are for others to listen on.
    with RawPeer(port, source=f"127.0.0.{10 + number % 200}") as peer:
        if is_associated:
            peer.associate(*CONTEXTS)
        try:
            peer.send(data)
            peer.socket.shutdown(socket.SHUT_WR)
        except OSError:
            return "closed"
        while True:
            pdu_type, body = peer.read_pdu()
            if pdu_type == 0:
                return last
            last = _ANSWERS[pdu_type]
            if pdu_type == 7:
                assert body[2] == 2, "aborted by the service provider"


def campaign(running: RunningAcceptor, desk: MemoryDesk, count: int) -> Counter[str]:
    seed = int(os.environ.get("RADMETER_SEED", random.SystemRandom().randrange(2**32)))
    sys.stdout.write(f"seed {seed}: RADMETER_SEED={seed} tries the same again\n")
    answers: Counter[str] = Counter()
    threads, memory, descriptors = 0, 0, 0
    warm_up = count // 5
    for number, (is_associated, data) in enumerate(malformed(seed, count)):
        if number == warm_up:
            forget(running.sink, desk)
            threads, memory, descriptors = baseline(running)
        try:
            answers[say(running.port, number, is_associated, data)] += 1
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, number {number}: {data!r}") from error
        if number % 1000 == 999:
            assert_alive(running)
            forget(running.sink, desk)
    wait_until(lambda: running.acceptor.statistics()["associations_open"] == 0)
    forget(running.sink, desk)
    threads_after, memory_after, descriptors_after = baseline(running)
    assert (threads_after, descriptors_after) == (threads, descriptors), f"seed {seed}"
    assert memory_after < memory * 1.1, f"seed {seed}"
    return answers


def forget(sink: MemorySink, desk: MemoryDesk) -> None:
    """The books of the test, not of the acceptor, would grow."""
    for books in (sink.outcomes, sink.opened, sink.requestors, desk.requests, desk.reported):
        books.clear()


def baseline(running: RunningAcceptor) -> tuple[int, int, int]:
    """Threads, resident bytes and open files when nobody is connected."""
    wait_until(lambda: running.acceptor.statistics()["associations_open"] == 0)
    wait_until(lambda: not any(thread.name == "association" for thread in threading.enumerate()))
    gc.collect()
    return threading.active_count(), rss_bytes(), len(os.listdir("/proc/self/fd"))


def run(start_acceptor: StartAcceptor, count: int) -> None:
    desk = MemoryDesk()
    running = start_acceptor(desk=desk)
    logging.disable(logging.CRITICAL)
    try:
        answers = campaign(running, desk, count)
    finally:
        logging.disable(logging.NOTSET)
    sys.stdout.write(f"{dict(answers)}\n")
    assert answers["aborted"] > count / 4, "most of it is no DICOM"
    assert answers["answered"] + answers["released"] > count / 50, "some of it reaches the services"
    assert_alive(running)
    assert list(running.root.rglob("*.part")) == []
    assert len(running.stored_files()) == len(running.sink.received), "what is stored was acknowledged"
    assert [path for path in running.root.parent.iterdir() if path != running.root] == []


def test_a_thousand_malformed_pdus_never_harm(start_acceptor: StartAcceptor) -> None:
    run(start_acceptor, 1_000)


@pytest.mark.soak
def test_a_hundred_thousand_malformed_pdus_never_harm(start_acceptor: StartAcceptor) -> None:
    run(start_acceptor, 100_000)
