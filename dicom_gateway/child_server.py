"""The process that children are forked from: what they all import, which takes 0.3 s, it has loaded already.

It has no file, no secret and nothing from outside in its memory: a child is as fresh as a program just started.
Each child has a minder, which waits for its end, tells how it ended, and ends it when nobody waits for that any more.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import runpy
import select
import signal
import socket
import sys
import traceback
from typing import NoReturn

from dicom_gateway.child_main import FUNCTIONS

_MESSAGE_BYTES_MAX = 256
_PR_SET_PDEATHSIG = 1
# A header's elements are kept until the child ends: looking among them for garbage each 700 costs more than it finds.
_GARBAGE_LOOKED_FOR_AFTER = 100_000


def main() -> None:
    """Take requests from the socket whose number is the only argument, until its other end is closed.

    A request is the name of a module to run, with three descriptors: its standard input, its standard error, and a
    socket of which the minder writes the exit status (negative: a signal's number).
    """
    control = socket.socket(fileno=int(sys.argv[1]))
    for module in FUNCTIONS.values():
        importlib.import_module(module)
    gc.freeze()  # a child that collects garbage would copy the pages of all that
    gc.set_threshold(_GARBAGE_LOOKED_FOR_AFTER)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # minders need nobody to wait for them
    while True:
        module_name, descriptors, _flags, _address = socket.recv_fds(control, _MESSAGE_BYTES_MAX, 3)
        if not module_name:
            return
        if os.fork() == 0:
            control.close()
            request, stderr, status = descriptors
            _mind(module_name.decode(), request, stderr, socket.socket(fileno=status))
        for descriptor in descriptors:
            os.close(descriptor)


def _mind(module: str, request: int, stderr: int, status: socket.socket) -> NoReturn:
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    minder = os.getpid()
    child = os.fork()
    if child == 0:
        _run(module, request, stderr, minder)
    for descriptor in (request, stderr):
        os.close(descriptor)
    while True:
        readable, _, _ = select.select([status.fileno(), woken], [], [])
        is_over = status.fileno() in readable
        if is_over:  # its other end is shut: nobody waits any more
            _kill_session(child)
        ended, how = os.waitpid(child, 0 if is_over else os.WNOHANG)
        if ended:
            with contextlib.suppress(OSError):
                status.send(str(os.waitstatus_to_exitcode(how)).encode())
            os._exit(0)
        os.read(woken, 64)


def _kill_session(child: int) -> None:
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:  # it has not come to making its session yet
        os.kill(child, signal.SIGKILL)


def _run(module: str, request: int, stderr: int, minder: int) -> NoReturn:
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        _die_with(minder)
        for target, descriptor in enumerate((request, os.open(os.devnull, os.O_WRONLY), stderr)):
            os.dup2(descriptor, target)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # as Python itself does at the top
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _die_with(parent: int) -> None:
    """A killed minder leaves no child behind (Linux; elsewhere its limits alone end it)."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    main()
