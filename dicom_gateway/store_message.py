"""One C-STORE request while its data set arrives, and what becomes of it (PS3.4 annex B)."""

from __future__ import annotations

import errno
import logging

from dicom_gateway.command_set import Command
from dicom_gateway.errors import (
    DataSetHeadUnreadable,
    InstanceRefused,
    InvalidObjectInstance,
    OutOfResources,
    SOPClassDoesNotMatch,
)
from dicom_gateway.file_meta import FileMeta, part10_header
from dicom_gateway.identify_instance import identify, require_allowed
from dicom_gateway.incoming_instance import IncomingInstance
from dicom_gateway.instance_sink import InstanceSink, RecordOutcome
from dicom_gateway.instance_store import InstanceStore
from dicom_gateway.keep_instance import keep
from dicom_gateway.peers import Peer
from dicom_gateway.presentation_contexts import STORAGE_SOP_CLASSES, AcceptedContext
from study.errors import InvalidUID
from study.identifiers import validate_uid

logger = logging.getLogger(__name__)


class StoreMessage:
    """Takes fragments of the data set; `finish` stores the instance or raises why not.

    A refusal that is known early lets the rest of the data set pass by unread, as the protocol wants, and
    is raised at the end.
    """

    def __init__(self, command: Command, context: AcceptedContext, peer: Peer, store: InstanceStore) -> None:
        self._command = command
        self._context = context
        self._peer = peer
        self._store = store
        self._incoming: IncomingInstance | None = None
        self._refusal: InstanceRefused | None = None
        try:
            self._begin()
        except InstanceRefused as refusal:
            self._refusal = refusal

    def append(self, fragment: memoryview) -> None:
        """Take a part of the data set."""
        if self._incoming is None:
            return
        try:
            self._incoming.append(fragment)
        except (OSError, OutOfResources) as error:
            self._refuse_for_resources(error)

    def finish(self, sink: InstanceSink, association_id: int) -> tuple[RecordOutcome, int]:
        """Store and record the whole instance; returns the outcome and the data set's size in bytes.

        When this returns without raising, file, folder and row are durable.
        """
        if self._refusal is not None or self._incoming is None:
            raise self._refusal or DataSetHeadUnreadable("the request has no data set")
        incoming = self._incoming
        announced = FileMeta(
            self._command.sop_class_uid, self._command.sop_instance_uid, self._context.transfer_syntax_uid
        )
        received = identify(incoming, self._peer.tenant, announced)
        require_allowed(self._peer, received)
        outcome = keep(self._store, sink, association_id, self._peer, incoming, received)
        return outcome, incoming.size_bytes

    def discard(self) -> None:
        """Remove the temporary file unless the instance was stored."""
        if self._incoming is not None:
            self._incoming.discard()
            self._incoming = None

    def _begin(self) -> None:
        try:
            validate_uid(self._command.sop_instance_uid)
        except InvalidUID:
            raise InvalidObjectInstance("Affected SOP Instance UID is not a UID") from None
        if self._context.sop_class_uid not in STORAGE_SOP_CLASSES:
            raise SOPClassDoesNotMatch("the presentation context is not for storage")
        if self._command.sop_class_uid != self._context.sop_class_uid:
            raise SOPClassDoesNotMatch("SOP class differs from the presentation context")
        header = part10_header(
            self._command.sop_class_uid,
            self._command.sop_instance_uid,
            self._context.transfer_syntax_uid,
            self._peer.ae_title,
        )
        try:
            self._incoming = self._store.create(header)
        except OSError as error:
            self._refuse_for_resources(error)

    def _refuse_for_resources(self, error: OSError | OutOfResources) -> None:
        self.discard()
        name = errno.errorcode.get(error.errno or 0, "?") if isinstance(error, OSError) else "nearly full"
        logger.error("instance_not_written reason=%s", name)
        self._refusal = OutOfResources("the disk cannot take the instance now")
