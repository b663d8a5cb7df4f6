"""What the acceptor needs from whoever keeps the books: find a peer, record an instance."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from dicom_gateway.peer_certificate import PeerCertificate
from dicom_gateway.peers import Peer
from dicom_gateway.security_alert import SecurityAlert
from dicom_gateway.user_information import NOTHING_SAID, UserInformation
from study.identifiers import validate_uid

AssociationEnd = Literal["released", "aborted", "lost"]


class RecordOutcome(enum.Enum):
    """What recording an instance found under its SOP Instance UID."""

    STORED = "stored"
    IDENTICAL = "identical"
    CONFLICT = "conflict"
    """Other bytes under the same UID: the first stays, the second goes to quarantine."""


@dataclass(frozen=True)
class ReceivedInstance:
    """An instance that lies durably in the instance store.

    location: where, relative to the store.
    blake3: hex digest of the data set as received, without preamble and group 0002.
    size_bytes: of those same bytes.
    modality: as the data set says, "" where it says nothing.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    location: str
    blake3: str
    size_bytes: int
    modality: str

    def __post_init__(self) -> None:
        for uid in (self.study_instance_uid, self.series_instance_uid, self.sop_instance_uid):
            validate_uid(uid)


class InstanceSink(Protocol):
    """Called from the acceptor's threads, several at once. An exception means "not now": the peer is
    told to come back (A-ASSOCIATE-RJ transient, C-STORE A700H)."""

    def called_ae_title_exists(self, called_ae_title: str) -> bool:
        """Whether we answer to this AE title at all."""

    def find_peer(
        self,
        calling_ae_title: str,
        called_ae_title: str,
        remote_host: str,
        certificate: PeerCertificate | None = None,
    ) -> Peer | None:
        """The peer that calls; None refuses it, and so does an `AssociationRefused`, which says more."""

    def report(self, alert: SecurityAlert) -> None:
        """Take note of what a peer tried. Never raises, and bounds what a flood of alerts may cost."""

    def open_association(self, peer: Peer, requestor: UserInformation = NOTHING_SAID) -> int:
        """Note that an association was accepted, and what its requestor says of itself; returns its number."""

    def record(self, association_id: int, peer: Peer, received: ReceivedInstance) -> RecordOutcome:
        """Commit the instance's row. Its file is durable before this is called."""

    def record_many(
        self, association_id: int, peer: Peer, received: Sequence[ReceivedInstance]
    ) -> list[RecordOutcome]:
        """`record` for each, all or none, in one commit; the outcomes in the order given."""

    def close_association(self, association_id: int, peer: Peer, how: AssociationEnd) -> None:
        """Note how an association ended: released by the peer, aborted by either side, or lost."""
