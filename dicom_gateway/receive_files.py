"""Many Part 10 files one after the other: stored and recorded in batches, so that durability stays cheap.

The way in of STOW-RS and of uploads. A batch shares the waiting for the disk and one transaction; what became of
a file is told only when its batch is durable.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from dicom_gateway.errors import (
    DifferentInstanceKeptAside,
    DifferentInstanceStored,
    InstanceNotAllowed,
    InstanceRefused,
    OutOfResources,
)
from dicom_gateway.incoming_instance import IncomingInstance
from dicom_gateway.instance_sink import AssociationEnd, InstanceSink, ReceivedInstance, RecordOutcome
from dicom_gateway.instance_store import InstanceStore
from dicom_gateway.peers import Peer
from dicom_gateway.receive_file import FileMessage
from dicom_gateway.security_alert import refused_instance

logger = logging.getLogger(__name__)

# Files open at a time in one request: two batches, one arriving, one being made durable.
BATCH_COUNT_MAX = 32


@dataclass(frozen=True)
class FileVerdict:
    """What became of one file. The UIDs are "" where the file did not tell them.

    outcome: None when it was refused; then `refusal` says why.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    outcome: RecordOutcome | None
    refusal: InstanceRefused | None = None


class FileReceiver:
    """Stores the files of one request from one peer.

    report: told the verdict of each file, in order, from the thread that calls `end` and `close`.
    study_instance_uid: the study that all instances must belong to, None for any.
    """

    def __init__(
        self,
        peer: Peer,
        store: InstanceStore,
        sink: InstanceSink,
        association_id: int,
        report: Callable[[FileVerdict], None],
        *,
        size_bytes_max: int,
        study_instance_uid: str | None = None,
    ) -> None:
        self._peer = peer
        self._store = store
        self._sink = sink
        self._association_id = association_id
        self._report = report
        self._size_bytes_max = size_bytes_max
        self._study_instance_uid = study_instance_uid
        self._message: FileMessage | None = None
        self._batch: list[tuple[IncomingInstance, ReceivedInstance]] = []
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._writing: Future[list[FileVerdict]] | None = None

    def begin(self, transfer_syntax_uid: str = "", refusal: InstanceRefused | None = None) -> None:
        """A new file begins; what is known about it from outside, as `FileMessage` takes it."""
        if self._message is not None:  # the one before broke off
            self._message.discard()
        self._message = FileMessage(
            self._peer, self._store, self._size_bytes_max, transfer_syntax_uid, refusal
        )

    def append(self, fragment: memoryview) -> None:
        """Take a part of the file."""
        assert self._message is not None
        self._message.append(fragment)

    @property
    def is_refused(self) -> bool:
        """Whether the rest of the file need not be given."""
        return self._message is not None and self._message.is_refused

    def end(self) -> None:
        """The file is whole."""
        assert self._message is not None
        message, self._message = self._message, None
        try:
            self._batch.append(message.finish(self._study_instance_uid))
        except InstanceRefused as refusal:
            message.discard()
            if isinstance(refusal, InstanceNotAllowed):
                self._sink.report(refused_instance(self._peer, refusal))
            sop_class_uid, sop_instance_uid = (
                (message.meta.sop_class_uid, message.meta.sop_instance_uid) if message.meta else ("", "")
            )
            self._report(FileVerdict(sop_class_uid, sop_instance_uid, "", None, refusal))
        if len(self._batch) >= BATCH_COUNT_MAX:
            self._write()

    def close(self) -> None:
        """Make durable what is whole, forget what is not, and tell the last verdicts."""
        if self._message is not None:
            self._message.discard()
            self._message = None
        self._write()
        self._wait()
        self._writer.shutdown()

    def _write(self) -> None:
        """Hand the batch to the writer: one is made durable while the next arrives."""
        self._wait()
        if self._batch:
            batch, self._batch = self._batch, []
            self._writing = self._writer.submit(self._store_batch, batch)

    def _wait(self) -> None:
        if self._writing is not None:
            verdicts, self._writing = self._writing.result(), None
            for verdict in verdicts:
                self._report(verdict)

    def _store_batch(self, batch: list[tuple[IncomingInstance, ReceivedInstance]]) -> list[FileVerdict]:
        try:
            placed = [(incoming, received.location) for incoming, received in batch]
            self._store.commit_many(placed, self._peer.tenant)
            outcomes = self._sink.record_many(
                self._association_id, self._peer, [received for _, received in batch]
            )
            for (_, received), outcome in zip(batch, outcomes, strict=True):
                if outcome is RecordOutcome.CONFLICT:
                    self._store.quarantine(received.location, self._peer.tenant)
        except Exception as error:
            # Disk and database fail in their own ways; to the sender each means "keep it, try again". Files
            # that have their place stay: the same objects may have been acknowledged before.
            name = type(error).__name__
            logger.error("batch_not_recorded association=%d error=%s", self._association_id, name)
            for incoming, _ in batch:
                incoming.discard()
            refusal = OutOfResources("the instance cannot be stored now")
            return [_verdict(received, None, refusal) for _, received in batch]
        return [
            _verdict(received, outcome, self._refusal_of(outcome))
            for (_, received), outcome in zip(batch, outcomes, strict=True)
        ]

    def _refusal_of(self, outcome: RecordOutcome) -> InstanceRefused | None:
        if outcome is not RecordOutcome.CONFLICT:
            return None
        warns = self._peer.duplicate_policy == "warning"
        kind = DifferentInstanceKeptAside if warns else DifferentInstanceStored
        return kind("another object has this SOP Instance UID")


@contextlib.contextmanager
def receiving(receiver: FileReceiver, sink: InstanceSink, association_id: int, peer: Peer) -> Iterator[None]:
    """The time in which files arrive; at its end, however it comes, nothing is left half done."""
    how: AssociationEnd = "lost"
    try:
        yield
        how = "released"
    finally:
        receiver.close()
        with contextlib.suppress(Exception):  # the database may have gone; what it has recorded stays
            sink.close_association(association_id, peer, how)


def _verdict(
    received: ReceivedInstance, outcome: RecordOutcome | None, refusal: InstanceRefused | None
) -> FileVerdict:
    return FileVerdict(
        received.sop_class_uid, received.sop_instance_uid, received.study_instance_uid, outcome, refusal
    )
