"""Part 10 files into the store, in batches: what is kept, what is refused and why, what is left behind."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from dicom_gateway.file_meta import FILE_META_BYTES_MAX, part10_header
from dicom_gateway.instance_sink import RecordOutcome
from dicom_gateway.instance_store import InstanceStore
from dicom_gateway.peers import Peer
from dicom_gateway.receive_files import BATCH_COUNT_MAX, FileReceiver, FileVerdict, receiving
from tests.dicom_peers import MemorySink, ct_data_set

PEER = Peer(tenant="clinic", ae_title="CDS")
CT, EXPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"


def part10(uid: str, data: bytes | None = None, sop_class: str = CT, syntax: str = EXPLICIT) -> bytes:
    return part10_header(sop_class, uid, syntax, "ELSEWHERE") + (ct_data_set(uid) if data is None else data)


class Desk:
    """A receiver over a store in a folder and books in memory."""

    def __init__(self, root: Path, size_bytes_max: int = 1 << 20) -> None:
        self.store, self.sink = InstanceStore(root), MemorySink()
        self.root, self.size_bytes_max = root, size_bytes_max

    def receive(
        self, files: list[bytes], piece: int = 1000, study_instance_uid: str | None = None
    ) -> list[FileVerdict]:
        verdicts: list[FileVerdict] = []
        receiver = FileReceiver(
            PEER, self.store, self.sink, 1, verdicts.append,
            size_bytes_max=self.size_bytes_max, study_instance_uid=study_instance_uid,
        )  # fmt: skip
        with receiving(receiver, self.sink, 1, PEER):
            for content in files:
                receiver.begin()
                for start in range(0, len(content), piece):
                    receiver.append(memoryview(content)[start : start + piece])
                receiver.end()
        return verdicts

    def refusal(self, content: bytes) -> str:
        (verdict,) = self.receive([content])
        assert verdict.outcome is None
        return type(verdict.refusal).__name__

    def files(self) -> list[Path]:
        return sorted(path for path in self.root.rglob("*") if path.is_file() and path.name != "lock")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.store.close()


@pytest.mark.parametrize("piece", [1, 131, 132, 500, 1 << 20])
def test_a_file_is_stored_with_our_preamble_and_group_2_whatever_the_pieces(desk: Desk, piece: int) -> None:
    content = part10("1.2.3")
    for outcome, magic in (
        (RecordOutcome.STORED, b"MZ\x90\0"), (RecordOutcome.IDENTICAL, b"\x7fELF\2\1\1\0"),
    ):  # fmt: skip
        (verdict,) = desk.receive([magic + content[len(magic) :]], piece)
        assert (verdict.outcome, verdict.sop_instance_uid) == (outcome, "1.2.3")
    (path,) = desk.files()
    stored = path.read_bytes()
    assert stored[:128] == bytes(128)
    dataset = pydicom.dcmread(io.BytesIO(stored))
    assert dataset.file_meta.SourceApplicationEntityTitle == "CDS"
    assert stored.endswith(ct_data_set("1.2.3"))


def test_more_files_than_a_batch_are_all_stored_and_told_in_order(desk: Desk) -> None:
    uids = [f"1.2.{number}" for number in range(1, 3 * BATCH_COUNT_MAX)]
    verdicts = desk.receive([part10(uid) for uid in uids])
    assert [verdict.sop_instance_uid for verdict in verdicts] == uids
    assert {verdict.outcome for verdict in verdicts} == {RecordOutcome.STORED}
    assert len(desk.files()) == len(uids)
    assert desk.sink.closed == {1: "released"}


def test_identical_bytes_again_and_other_bytes_under_the_same_uid(desk: Desk) -> None:
    other = ct_data_set("1.2.3")[:-1] + b"\0"
    verdicts = desk.receive([part10("1.2.3"), part10("1.2.3"), part10("1.2.3", other)])
    assert [verdict.outcome for verdict in verdicts] == [
        RecordOutcome.STORED, RecordOutcome.IDENTICAL, RecordOutcome.CONFLICT,
    ]  # fmt: skip
    assert [path.parent.name == "quarantine" for path in desk.files()].count(True) == 1
    assert len(desk.files()) == 2


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        (b"", "FileUnreadable"),
        (b"hello", "FileUnreadable"),
        (b"x" * 200, "FileUnreadable"),
        (part10("1.2.3", b""), "FileUnreadable"),
        (part10("1.2.3")[:300], "FileUnreadable"),
        (bytes(128) + b"DICM" + b"\x02\0\x01\0OB\0\0" + b"\xff\xff\xff\x7f" + bytes(99), "FileUnreadable"),
        (bytes(128) + b"DICM" + b"\x02\0\x02\1UI\x08\x00" * FILE_META_BYTES_MAX, "FileUnreadable"),
        (part10("../../etc/passwd"), "FileUnreadable"),
        (part10("1.2.3", ct_data_set("1.2.4")), "SOPClassDoesNotMatch"),
        (part10("1.2.3", sop_class="1.2.840.10008.5.1.4.1.1.4"), "SOPClassDoesNotMatch"),
        (part10("1.2.3", b"not a data set, not at all"), "DataSetHeadUnreadable"),
        (part10("1.2.3", sop_class="1.2.840.10008.1.3.10"), "SOPClassNotSupported"),
        (part10("1.2.3", syntax=DEFLATED), "TransferSyntaxNotSupported"),
        (part10("1.2.3", syntax="1.2.840.10008.1.2.4.94"), "TransferSyntaxNotSupported"),
        (part10("1.2.3", ct_data_set("1.2.3") + bytes(1 << 20)), "InstanceTooLarge"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_reason_and_leaves_nothing(
    desk: Desk, content: bytes, refusal: str
) -> None:
    assert desk.refusal(content) == refusal
    assert desk.files() == []
    assert desk.sink.outcomes == []


def test_an_instance_of_another_study_than_the_one_named_is_refused(desk: Desk) -> None:
    verdicts = desk.receive([part10("1.2.3")], study_instance_uid="1.2.999")
    assert type(verdicts[0].refusal).__name__ == "StudyDoesNotMatch"
    assert verdicts[0].sop_instance_uid == "1.2.3"
    assert desk.files() == []


def test_while_the_books_are_down_every_file_is_refused_for_lack_of_resources(desk: Desk) -> None:
    desk.sink.fail = ConnectionError("down")
    verdicts = desk.receive([part10(f"1.2.{number}") for number in range(1, 40)])
    assert {type(verdict.refusal).__name__ for verdict in verdicts} == {"OutOfResources"}
    assert list(desk.root.rglob("*.part")) == []
    desk.sink.fail = None
    assert {verdict.outcome for verdict in desk.receive([part10("1.2.1")])} == {RecordOutcome.STORED}


def test_a_full_disk_refuses_for_lack_of_resources(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.store = InstanceStore(tmp_path, free_bytes_min=1 << 60)
    assert desk.refusal(part10("1.2.3")) == "OutOfResources"


def test_what_is_whole_stays_when_the_sender_vanishes_in_the_next_file(desk: Desk) -> None:
    verdicts: list[FileVerdict] = []
    receiver = FileReceiver(PEER, desk.store, desk.sink, 1, verdicts.append, size_bytes_max=1 << 20)

    def send_one_and_a_half() -> None:
        with receiving(receiver, desk.sink, 1, PEER):
            receiver.begin()
            receiver.append(memoryview(part10("1.2.3")))
            receiver.end()
            receiver.begin()
            receiver.append(memoryview(part10("1.2.4")[:-50]))
            raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        send_one_and_a_half()
    assert [verdict.sop_instance_uid for verdict in verdicts] == ["1.2.3"]
    assert len(desk.files()) == 1
    assert desk.sink.closed == {1: "lost"}
