"""Power loss at any moment (PS3.4 promises storage with 0000H): the system calls of a real receiver, replayed.

`strace` writes down what a receiver with database does for one association. A model of a disk that loses everything
that was not synced is stopped after each call: every instance that was answered by then must be whole under its name,
in folders that are durable, and its row committed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import psutil
import pytest

from benchmarks.receivers import prepare_database
from tests.conftest import ROOT
from tests.dicom_peers import RawPeer, ct_data_set

pytestmark = pytest.mark.peer  # strace

IMAGES = 12
CALLS = "openat,mkdir,mkdirat,write,writev,fsync,fdatasync,rename,renameat,renameat2,unlink,sendto,recvfrom"

Event = tuple[str, str, str]
"""What happened (make, write, sync, rename, mkdir, ask, commit, answer), to what, and its new name."""


@dataclass
class Disk:
    """What a power cut leaves. Names and contents live until the cut; synced ones outlive it."""

    files: dict[str, str] = field(default_factory=dict)
    dirty: set[str] = field(default_factory=set)
    synced_names: set[str] = field(default_factory=set)
    folders: set[str] = field(default_factory=set)
    synced_folders: set[str] = field(default_factory=set)
    commits: int = 0
    answers: int = 0

    def apply(self, event: Event) -> None:
        what, name, target = event
        if what == "make":
            self.files[name] = name
            self.dirty.add(name)
        elif what == "write":
            self.dirty.add(name)
        elif what == "mkdir":
            self.folders.add(name)
        elif what == "rename":
            self.files[target] = self.files.pop(name)
            self.dirty ^= {name, target} if name in self.dirty else set()
        elif what == "sync":
            self.dirty.discard(name)
            here = {path for path in self.files if str(PurePosixPath(path).parent) == name}
            self.synced_names |= here
            self.synced_folders |= {path for path in self.folders if str(PurePosixPath(path).parent) == name}
        self.commits += what == "commit"
        self.answers += what == "answer"

    def survivors(self) -> int:
        """Instances whose name, bytes and folders outlive a power cut now."""
        return sum(
            path in self.synced_names
            and path not in self.dirty
            and all(
                str(parent) in self.synced_folders
                for parent in PurePosixPath(path).parents
                if str(parent) in self.folders
            )
            for path in self.files
            if path.endswith(".dcm")
        )


def first_loss(events: list[Event]) -> int | None:
    """The number of calls after which a power cut loses something that was answered; None if there is none."""
    disk = Disk()
    for number, event in enumerate(events, 1):
        disk.apply(event)
        if disk.answers > min(disk.survivors(), disk.commits):
            return number
    return None


@pytest.fixture(scope="module")
def events(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    """The calls of the thread that served the association, in their order."""
    folder = tmp_path_factory.mktemp("power")
    prepare_database(postgres_url)
    trace = folder / "trace"
    strace = ["strace", "-ff", "-yy", "-s", "400", "-e", f"trace={CALLS}", "-o", str(trace)]
    receiver = subprocess.Popen(
        [*strace, sys.executable, "-m", "benchmarks.receivers", "radmeter_database", str(folder)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | {"RADMETER_DATABASE_URL": postgres_url},
    )  # fmt: skip
    assert receiver.stdout is not None
    try:
        with RawPeer(int(receiver.stdout.readline())) as peer:
            peer.associate()
            for number in range(1, IMAGES + 1):
                assert peer.store(ct_data_set(f"1.2.{number}", pixel_bytes=40_000), f"1.2.{number}") == 0
            peer.release()
    finally:
        # Not strace itself: it would not listen. It ends with what it has started.
        psutil.Process(receiver.pid).children()[0].terminate()
        receiver.wait(60)
        receiver.stdout.close()
    (lines,) = [text for path in folder.glob("trace.*") if "rename(" in (text := path.read_text())]
    return list(parsed(lines.splitlines()))


def parsed(lines: list[str]) -> Iterator[Event]:
    is_recorded = False
    for line in lines:
        if line.endswith(("ENOENT (No such file or directory)", "EEXIST (File exists)")):
            continue
        name = (re.search(r"^\w+\(\d+<([^>]*)>", line) or [""] * 2)[1]
        quoted = re.findall(r'"([^"]*)"', line)
        if line.startswith("openat") and "O_CREAT" in line and ".part" in line:
            yield "make", quoted[0], ""
        elif line.startswith(("write", "writev")) and ".part" in name:
            yield "write", name, ""
        elif line.startswith(("fsync", "fdatasync")):
            yield "sync", name, ""
        elif line.startswith("rename("):
            yield "rename", quoted[0], quoted[1]
        elif line.startswith("mkdir"):
            yield "mkdir", quoted[0], ""
        elif line.startswith("sendto") and "SELECT recorded.*" in line:
            is_recorded = True  # in a transaction of its own: the first of an arrival
        elif line.startswith("recvfrom") and is_recorded and r'"C\0\0\0\vCOMMIT' in line:
            is_recorded = False
            yield "commit", "", ""
        elif line.startswith("recvfrom") and re.search(r"storedC.*SELECT 1\\0Z\\0\\0\\0\\5I", line):
            yield "commit", "", ""  # the statement and its commit in one round trip
        elif line.startswith("sendto") and "TCP" in name and r', "\4\0' in line:
            yield "answer", "", ""


def test_nothing_that_was_answered_is_lost_after_any_system_call(events: list[Event]) -> None:
    assert sum(what == "answer" for what, _, _ in events) == IMAGES
    assert sum(what == "rename" for what, _, _ in events) == IMAGES
    assert sum(what == "commit" for what, _, _ in events) == IMAGES
    assert first_loss(events) is None


@pytest.mark.parametrize("left_out", ["sync of a file", "sync of a folder", "commit", "order"])
def test_the_model_would_see_a_loss(events: list[Event], left_out: str) -> None:
    is_file = {"sync of a file": True, "sync of a folder": False}
    if left_out in is_file:
        broken = [one for one in events if one[0] != "sync" or one[1].endswith(".part") != is_file[left_out]]
    elif left_out == "commit":
        broken = [one for one in events if one[0] != "commit"]
    else:  # the answer before what it promises
        broken = sorted(events, key=lambda one: one[0] != "answer")
    assert first_loss(broken) is not None
