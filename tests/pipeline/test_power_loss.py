"""Power loss at any moment (PS3.4 promises storage with 0000H): the system calls of a real receiver, replayed.

`strace` writes down what a receiver with database does for one association. A model of a disk that loses everything
that was not synced is stopped after each call: every instance that was answered by then must be whole under its name,
in folders that are durable, and its row committed. Once where the tests' folder lies, once in memory, where nothing
beyond POSIX is promised.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import psutil
import pytest

from benchmarks.receivers import prepare_database
from dicom_gateway.file_system import syncs_names_with_files
from tests.conftest import ROOT
from tests.dicom_peers import RawPeer, ct_data_set

pytestmark = pytest.mark.peer  # strace

IMAGES = 12
CALLS = "openat,mkdir,mkdirat,write,writev,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,sendto,recvfrom"

Event = tuple[str, str, str]
"""What happened (make, write, sync, rename, link, mkdir, ask, commit, answer), to what, and its new name."""


@dataclass
class Disk:
    """What a power cut leaves. Names and contents live until the cut; synced ones outlive it.

    files: the content, called after its first name, of each name. syncs_names: a sync of a file makes its names
    durable.
    """

    syncs_names: bool
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
        elif what == "link":
            self.files[target] = self.files[name]
        elif what == "sync":
            self.dirty.discard(name)
            self.synced_names |= {
                path
                for path, content in self.files.items()
                if str(PurePosixPath(path).parent) == name or (self.syncs_names and content == name)
            }
            self.synced_folders |= {path for path in self.folders if str(PurePosixPath(path).parent) == name}
        self.commits += what == "commit"
        self.answers += what == "answer"

    def survivors(self) -> int:
        """Instances whose name, bytes and folders outlive a power cut now."""
        return sum(
            path in self.synced_names
            and content not in self.dirty
            and all(
                str(parent) in self.synced_folders
                for parent in PurePosixPath(path).parents
                if str(parent) in self.folders
            )
            for path, content in self.files.items()
            if path.endswith(".dcm")
        )


@dataclass(frozen=True)
class Trace:
    """The calls of the thread that served the association, in their order, and where it put its files."""

    events: list[Event]
    syncs_names: bool


def first_loss(events: list[Event], syncs_names: bool) -> int | None:
    """The number of calls after which a power cut loses something that was answered; None if there is none."""
    disk = Disk(syncs_names)
    for number, event in enumerate(events, 1):
        disk.apply(event)
        if disk.answers > min(disk.survivors(), disk.commits):
            return number
    return None


@pytest.fixture(scope="module", params=["on disk", "in memory"])
def trace(
    request: pytest.FixtureRequest,
    postgres_url: str,
    tmp_path_factory: pytest.TempPathFactory,
    disk_folder: Path,
) -> Iterator[Trace]:
    written = tmp_path_factory.mktemp("power")
    is_on_disk = request.param == "on disk"
    with tempfile.TemporaryDirectory(dir=disk_folder if is_on_disk else "/dev/shm") as folder:
        root = "1.2" if is_on_disk else "1.3"  # the database has seen the others
        events = traced(postgres_url, Path(folder), written / "trace", root)
        yield Trace(events, syncs_names_with_files(Path(folder)))


def traced(postgres_url: str, folder: Path, trace: Path, root: str) -> list[Event]:
    """What a receiver does that keeps its files in `folder`. root: of the instances' UIDs."""
    prepare_database(postgres_url)
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
                uid = f"{root}.{number}"
                assert peer.store(ct_data_set(uid, pixel_bytes=40_000), uid) == 0
            peer.release()
    finally:
        # Not strace itself: it would not listen. It ends with what it has started.
        psutil.Process(receiver.pid).children()[0].terminate()
        receiver.wait(60)
        receiver.stdout.close()
    texts = [path.read_text() for path in trace.parent.glob("trace.*")]
    (lines,) = [text for text in texts if '.part", "' in text]  # the thread that gave names
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
        elif line.startswith(("rename(", "link(")):
            yield line.partition("(")[0], quoted[0], quoted[1]
        elif line.startswith("mkdir"):
            yield "mkdir", quoted[0], ""
        elif line.startswith("sendto") and "SELECT recorded.*" in line:
            is_recorded = True  # in a transaction of its own: the first of an arrival
        elif line.startswith("recvfrom") and is_recorded and r'"C\0\0\0\vCOMMIT' in line:
            is_recorded = False
            yield "commit", "", ""
        elif line.startswith("recvfrom") and re.search(r"1\.[23]\.\d+C.*SELECT 1\\0Z\\0\\0\\0\\5I", line):
            yield "commit", "", ""  # the statement, which gives a UID, and its commit
        elif line.startswith("sendto") and "TCP" in name and r', "\4\0' in line:
            yield "answer", "", ""


def test_nothing_that_was_answered_is_lost_after_any_system_call(trace: Trace) -> None:
    happened = [what for what, _, _ in trace.events]
    assert happened.count("answer") == IMAGES
    assert happened.count("link" if trace.syncs_names else "rename") == IMAGES
    assert happened.count("commit") == IMAGES
    assert first_loss(trace.events, trace.syncs_names) is None


@pytest.mark.parametrize("left_out", ["sync of a file", "sync of a folder", "commit", "order"])
def test_the_model_would_see_a_loss(trace: Trace, left_out: str) -> None:
    is_file = {"sync of a file": True, "sync of a folder": False}
    events = trace.events
    if left_out in is_file:
        broken = [one for one in events if one[0] != "sync" or one[1].endswith(".part") != is_file[left_out]]
    elif left_out == "commit":
        broken = [one for one in events if one[0] != "commit"]
    else:  # the answer before what it promises
        broken = sorted(events, key=lambda one: one[0] != "answer")
    assert first_loss(broken, trace.syncs_names) is not None
