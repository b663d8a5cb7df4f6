"""The thread of an association never takes the answer of a request, however long it is held up between two steps."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from dicom_gateway.reactor_pause import ReactorPause
from tests import ports

# Longer than an answer on loopback takes, as on a machine with more threads than cores.
_HELD_UP_S = 0.05


class _HeldUp(threading.Event):
    """pynetdicom's own event, whose thread loses the processor after it was let through."""

    def __init__(self) -> None:
        super().__init__()
        self.set()
        self.is_reached = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.is_reached.set()
        passed = super().wait(timeout)
        time.sleep(_HELD_UP_S)
        return passed


class _HeldUpButMended(ReactorPause):
    def wait(self, timeout: float | None = None) -> bool:
        passed = super().wait(timeout)
        time.sleep(_HELD_UP_S)
        return passed


def _echoes(pause: Any, link: Any, count: int) -> list[int | None]:
    """Statuses of the answers, None for each that did not come, when sender and thread are both held up."""
    link._reactor_checkpoint = pause
    assert pause.is_reached.wait(5)
    take = link.dimse.get_msg

    def take_later(block: bool = False) -> Any:
        time.sleep(2 * _HELD_UP_S if block else 0)
        return take(block)

    link.dimse.get_msg = take_later
    answers = []
    while len(answers) < count and link.is_established:
        answers.append(getattr(link.send_c_echo(), "Status", None))
    return answers


@pytest.fixture
def link() -> Any:
    peer = AE()
    peer.add_supported_context(Verification)
    port = ports.free_port()
    server = peer.start_server(("127.0.0.1", port), block=False)
    entity = AE()
    entity.dimse_timeout = 1
    entity.add_requested_context(Verification)
    link = entity.associate("127.0.0.1", port)
    assert link.is_established
    yield link
    link.abort()
    server.shutdown()


def test_every_answer_reaches_its_sender(link: Any) -> None:
    assert _echoes(_HeldUpButMended(link), link, 10) == [0] * 10


def test_without_it_an_answer_is_lost(link: Any) -> None:
    assert None in _echoes(_HeldUp(), link, 10)
