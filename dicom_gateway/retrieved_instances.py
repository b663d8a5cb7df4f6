"""Instances that an archive hands over because we asked: the same store and the same books as the acceptor's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dicom_gateway.acceptor_settings import GIB, MIB
from dicom_gateway.errors import (
    InstanceRefused,
    InvalidObjectInstance,
    OutOfResources,
    SOPClassDoesNotMatch,
    StudyDoesNotMatch,
)
from dicom_gateway.file_meta import FileMeta, part10_header
from dicom_gateway.identify_instance import identify
from dicom_gateway.incoming_instance import IncomingInstance
from dicom_gateway.instance_sink import AssociationEnd, InstanceSink, RecordOutcome
from dicom_gateway.instance_store import InstanceStore
from dicom_gateway.keep_instance import keep
from dicom_gateway.peers import Peer
from dicom_gateway.storage_sop_classes import STORAGE_SOP_CLASSES
from dicom_gateway.transfer_syntaxes import TRANSFER_SYNTAXES
from study.errors import InvalidUID
from study.identifiers import validate_uid


@dataclass(frozen=True)
class RetrieveLimits:
    """How much is taken of one retrieval.

    instance_bytes_max: of one data set; by C-GET it lies in memory until it is whole.
    time_s: for the retrieval as a whole.
    """

    instances_max: int = 5000
    bytes_max: int = 8 * GIB
    instance_bytes_max: int = 512 * MIB
    time_s: float = 1800.0


USUAL_RETRIEVE_LIMITS = RetrieveLimits()


@dataclass(frozen=True)
class RetrieveOutcome:
    """What a retrieval came to.

    completed: instances that are here now, those that were here before too. failed: those that the archive
        could not send, or that we did not take.
    error: why the rest is missing; None when the archive finished without a failure.
    """

    completed: int
    failed: int
    error: str | None


class RetrievedInstances:
    """Takes the instances of one study, one after the other, within the limits.

    An instance of another study is refused: an archive that answers with what was not asked for gets no
    chance to bring it in.
    """

    def __init__(
        self,
        store: InstanceStore,
        sink: InstanceSink,
        peer: Peer,
        study_instance_uid: str,
        limits: RetrieveLimits = USUAL_RETRIEVE_LIMITS,
    ) -> None:
        self.completed = self.failed = 0
        self.limits = limits
        self._store, self._sink, self._peer = store, sink, peer
        self._study_instance_uid = validate_uid(study_instance_uid)
        self._association_id = sink.open_association(peer)
        self._bytes = 0

    def close(self, how: AssociationEnd) -> None:
        self._sink.close_association(self._association_id, self._peer, how)

    def take(self, announced: FileMeta, pieces: Iterable[bytes | memoryview]) -> RecordOutcome:
        """Store one instance durably; raise `InstanceRefused` with the reason why not. Counts either way."""
        try:
            outcome = self._take(announced, pieces)
        except InstanceRefused:
            self.failed += 1
            raise
        self.completed += 1
        return outcome

    def _take(self, announced: FileMeta, pieces: Iterable[bytes | memoryview]) -> RecordOutcome:
        if self.completed + self.failed >= self.limits.instances_max:
            raise OutOfResources(f"more than {self.limits.instances_max} instances")
        try:
            validate_uid(announced.sop_instance_uid)
        except InvalidUID:
            raise InvalidObjectInstance("SOP Instance UID is not a UID") from None
        if announced.sop_class_uid not in STORAGE_SOP_CLASSES:
            raise SOPClassDoesNotMatch("the SOP class is not one for storage")
        if announced.transfer_syntax_uid not in TRANSFER_SYNTAXES:
            raise SOPClassDoesNotMatch("the transfer syntax is not one that we store")
        header = part10_header(
            announced.sop_class_uid,
            announced.sop_instance_uid,
            announced.transfer_syntax_uid,
            self._peer.ae_title,
        )
        try:
            incoming = self._store.create(header)
        except OSError as error:
            raise OutOfResources("the disk cannot take the instance now") from error
        try:
            self._fill(incoming, pieces)
            return self._keep(incoming, announced)
        finally:
            incoming.discard()

    def _fill(self, incoming: IncomingInstance, pieces: Iterable[bytes | memoryview]) -> None:
        for piece in pieces:
            self._bytes += len(piece)
            if incoming.size_bytes + len(piece) > self.limits.instance_bytes_max:
                raise OutOfResources("an instance is larger than we take")
            if self._bytes > self.limits.bytes_max:
                raise OutOfResources("the study is larger than we take")
            try:
                incoming.append(memoryview(piece))
            except OSError as error:
                raise OutOfResources("the disk cannot take the instance now") from error

    def _keep(self, incoming: IncomingInstance, announced: FileMeta) -> RecordOutcome:
        received = identify(incoming, self._peer.tenant, announced)
        if received.study_instance_uid != self._study_instance_uid:
            raise StudyDoesNotMatch("the instance belongs to another study than was asked for")
        return keep(self._store, self._sink, self._association_id, self._peer, incoming, received)
