"""One Part 10 file while it arrives: its own head is read and replaced, its data set goes to the disk."""

from __future__ import annotations

import errno
import logging

from dicom_gateway.errors import (
    FileUnreadable,
    InstanceRefused,
    InstanceTooLarge,
    NotAPart10File,
    OutOfResources,
    SOPClassNotSupported,
    StudyDoesNotMatch,
    TransferSyntaxNotSupported,
)
from dicom_gateway.file_meta import FILE_META_BYTES_MAX, FileMeta, part10_header, scan_file_meta
from dicom_gateway.identify_instance import identify, require_allowed
from dicom_gateway.incoming_instance import IncomingInstance
from dicom_gateway.instance_sink import ReceivedInstance
from dicom_gateway.instance_store import InstanceStore
from dicom_gateway.peers import Peer
from dicom_gateway.presentation_contexts import STORAGE_SOP_CLASSES, TRANSFER_SYNTAXES

logger = logging.getLogger(__name__)

MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"


class FileMessage:
    """Takes the bytes of a file; `finish` gives the instance, not stored yet, or raises why not.

    A refusal that is known early lets the rest of the file pass by unread.
    transfer_syntax_uid: as announced beside the file, "" where it was not.
    refusal: known before the file comes.
    meta: what group 0002 says, None until it has been read.
    """

    def __init__(
        self,
        peer: Peer,
        store: InstanceStore,
        size_bytes_max: int,
        transfer_syntax_uid: str = "",
        refusal: InstanceRefused | None = None,
    ) -> None:
        self.meta: FileMeta | None = None
        self._peer = peer
        self._store = store
        self._size_bytes_max = size_bytes_max
        self._start = bytearray()
        self._incoming: IncomingInstance | None = None
        self._transfer_syntax_uid = transfer_syntax_uid
        self._refusal = refusal

    @property
    def is_refused(self) -> bool:
        return self._refusal is not None

    def append(self, fragment: memoryview) -> None:
        """Take a part of the file. The view is used before this returns, never kept."""
        if self._refusal is not None:
            return
        try:
            if self._incoming is None:
                self._append_to_start(fragment)
            else:
                self._append_to_data_set(self._incoming, fragment)
        except InstanceRefused as refusal:
            self._refuse(refusal)
        except OSError as error:
            name = errno.errorcode.get(error.errno or 0, "?")
            logger.error("instance_not_written reason=%s", name)
            self._refuse(OutOfResources("the disk cannot take the instance now"))

    def finish(self, study_instance_uid: str | None = None) -> tuple[IncomingInstance, ReceivedInstance]:
        """The whole instance, to be committed or discarded by the caller.

        study_instance_uid: the study that it must belong to.
        """
        if self._refusal is not None:
            raise self._refusal
        if self._incoming is None or self.meta is None:
            raise FileUnreadable("the file ends before its data set begins")
        received = identify(self._incoming, self._peer.tenant, self.meta)
        require_allowed(self._peer, received)
        if study_instance_uid not in (None, received.study_instance_uid):
            raise StudyDoesNotMatch("the instance belongs to another study than the one named")
        incoming, self._incoming = self._incoming, None
        return incoming, received

    def discard(self) -> None:
        """Remove the temporary file unless `finish` gave it away."""
        if self._incoming is not None:
            self._incoming.discard()
            self._incoming = None

    def _append_to_start(self, fragment: memoryview) -> None:
        """Until the data set begins: keep the little that came, then open the file and write what follows."""
        kept = len(self._start)
        self._start += fragment[: FILE_META_BYTES_MAX - kept]
        try:
            scanned = scan_file_meta(bytes(self._start))
        except NotAPart10File as error:
            raise FileUnreadable(str(error)) from None
        if scanned is None:
            return
        self.meta, offset = scanned
        if self.meta.sop_class_uid not in STORAGE_SOP_CLASSES:
            raise SOPClassNotSupported("the SOP class is not one of those that are stored here")
        if self.meta.transfer_syntax_uid not in TRANSFER_SYNTAXES:
            raise TransferSyntaxNotSupported("the transfer syntax is not one of those that are stored here")
        if self._transfer_syntax_uid not in ("", self.meta.transfer_syntax_uid):
            raise TransferSyntaxNotSupported("the file has another transfer syntax than announced")
        self._incoming = self._store.create(
            part10_header(
                self.meta.sop_class_uid,
                self.meta.sop_instance_uid,
                self.meta.transfer_syntax_uid,
                self._peer.ae_title,
            )
        )
        if offset < kept:
            self._append_to_data_set(self._incoming, memoryview(bytes(self._start[offset:kept])))
            offset = kept
        self._start.clear()
        self._append_to_data_set(self._incoming, fragment[offset - kept :])

    def _append_to_data_set(self, incoming: IncomingInstance, fragment: memoryview) -> None:
        if incoming.size_bytes + len(fragment) > self._size_bytes_max:
            raise InstanceTooLarge(f"the instance is larger than {self._size_bytes_max} bytes")
        if fragment:
            incoming.append(fragment)

    def _refuse(self, refusal: InstanceRefused) -> None:
        self._refusal = refusal
        self.discard()
