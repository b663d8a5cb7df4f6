"""Several receiver processes under one accept process: each connection goes to the one with the fewest."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dicom_gateway.receiver_messages import Message, receive, send

logger = logging.getLogger(__name__)

# One that dies right after its start is not started again at once: whatever ended it is still there.
_RESTART_DELAY_S = 1.0
_END_S = 3.0


@dataclass(eq=False)
class _Member:
    """One receiver process. hosts: of its connections; opened: its thread → association, as in the books."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    started_at: float
    hosts: Counter[str] = field(default_factory=Counter)
    opened: dict[int, list[object]] = field(default_factory=dict)
    statistics: dict[str, int] = field(default_factory=dict)


class ReceiverProcesses:
    """A `Crew` of processes. Every call comes from the accept loop's thread.

    command: starts a receiver (`receiver_process`); the number of its control descriptor is put behind it.
    """

    def __init__(self, command: Sequence[str], count: int) -> None:
        self._command = list(command)
        self._count = count
        self._members: list[_Member] = []
        self._lost: list[list[object]] = []
        self._totals: Counter[str] = Counter()
        self._start_at = 0.0
        self._is_draining = False

    @property
    def process_ids(self) -> list[int]:
        return [member.process.pid for member in self._members]

    def begin(self, selector: selectors.BaseSelector, on_end: Callable[[str], None]) -> None:
        self._selector = selector
        self._on_end = on_end
        self.tend(time.monotonic())

    def take(self, sock: socket.socket, host: str, listener: int) -> bool:
        message = {"take": {"host": host, "listener": listener}}
        for member in sorted(self._members, key=lambda one: one.hosts.total()):
            try:
                send(member.control, message, sock.fileno())
            except OSError:  # stuck or about to be missed: another one
                continue
            member.hosts[host] += 1
            sock.close()
            return True
        return False

    def serve(self, data: object) -> None:
        assert isinstance(data, _Member)
        try:
            message, _ = receive(data.control)
        except BlockingIOError:
            return
        except OSError:
            message = None
        if message is None:
            self._bury(data)
        else:
            self._note(data, message)

    def tend(self, now: float) -> None:
        """Start what is missing; tell a living one what became of the associations of one that died."""
        while len(self._members) < self._count and now >= self._start_at and not self._is_draining:
            self._members.append(self._start(now))
        if self._lost and self._members:
            with contextlib.suppress(OSError):
                send(self._members[-1].control, {"lost": self._lost[:500]})
                del self._lost[:500]

    def statistics(self) -> dict[str, int]:
        totals = Counter(self._totals)
        for member in self._members:
            totals.update(member.statistics)
        return dict(totals)

    def drain(self) -> None:
        self._is_draining = True
        for member in self._members:
            with contextlib.suppress(OSError):
                send(member.control, {"drain": True})

    def close(self) -> None:
        """The end of the control socket ends a receiver; one that does not hear it is killed."""
        for member in self._members:
            member.control.close()
        deadline = time.monotonic() + _END_S
        for member in self._members:
            with contextlib.suppress(subprocess.TimeoutExpired):
                member.process.wait(max(deadline - time.monotonic(), 0.1))
            if member.process.poll() is None:
                member.process.kill()
                member.process.wait()

    def _start(self, now: float) -> _Member:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = subprocess.Popen(
                [*self._command, str(theirs.fileno())], pass_fds=[theirs.fileno()], env=os.environ
            )
        ours.setblocking(False)
        member = _Member(process, ours, now)
        self._selector.register(ours, selectors.EVENT_READ, member)
        logger.info("receiver_started process=%d", process.pid)
        return member

    def _note(self, member: _Member, message: Message) -> None:
        member.statistics = message.get("statistics", member.statistics)
        if "opened" in message:
            member.opened[message["by"]] = message["opened"]
        elif "ended" in message:
            member.opened.pop(message["by"], None)
            member.hosts[message["ended"]] -= 1
            self._on_end(message["ended"])

    def _bury(self, member: _Member) -> None:
        """Its associations are gone: their senders see a broken connection, and the books say lost."""
        self._selector.unregister(member.control)
        member.control.close()
        self._members.remove(member)
        member.process.kill()
        exit_code = member.process.wait()
        logger.error("receiver_ended exit_code=%d associations=%d", exit_code, member.hosts.total())
        self._totals.update(member.statistics)
        self._lost += member.opened.values()
        for host in member.hosts.elements():
            self._on_end(host)
        now = time.monotonic()
        is_early = now - member.started_at < _RESTART_DELAY_S
        self._start_at = now + _RESTART_DELAY_S if is_early else now
