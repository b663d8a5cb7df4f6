"""What can go wrong between a DICOM peer and the instance store.

Reading received objects and building results have their own modules: `decode_errors`, `encode_errors`.
No message carries a UID, a name or any other value of a data set: messages reach logs and peers.
"""

from __future__ import annotations

from typing import ClassVar


class GatewayError(Exception):
    """The DICOM gateway could not do what was asked."""


class ConnectionLost(GatewayError):
    """The peer closed the connection, or the network did."""


class PeerTooSlow(GatewayError):
    """A whole PDU did not arrive, or could not be sent, within its deadline."""


class PeerSilent(GatewayError):
    """The peer opened a connection or association and then said nothing for too long."""


class TLSHandshakeFailed(GatewayError):
    """No secure connection came about: no common version or suite, or a certificate that is not believed."""


class TLSFilesUnusable(GatewayError):
    """A certificate, key or list of authorities cannot be used."""


class CertificateNameInvalid(GatewayError):
    """A certificate is named by its SHA-256 fingerprint, or as cn:, dns:, ip:, uri: or subject: with a value."""

    def __init__(self, text: str) -> None:
        super().__init__(
            f"{text!r} names no certificate: give a SHA-256 fingerprint, cn:, dns:, ip:, uri: or subject:"
        )


class HostEntryInvalid(GatewayError):
    """A peer's hosts are addresses, networks as 192.0.2.0/24, and names."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text!r} is no address, no network and no host name")


class ProtocolViolation(GatewayError):
    """What arrived is not what PS3.8 or PS3.7 allow at this point; the association is aborted.

    reason: A-ABORT reason of the service provider (PS3.8 table 9-26).
    """

    def __init__(self, sentence: str, reason: int) -> None:
        super().__init__(sentence)
        self.reason = reason


class UnrecognizedPDU(ProtocolViolation):
    """The type of a PDU is none of PS3.8 section 9.3."""

    def __init__(self, pdu_type: int) -> None:
        super().__init__(f"PDU type {pdu_type:#04x} is not known", reason=1)


class UnexpectedPDU(ProtocolViolation):
    """A PDU arrived that the state of the association does not allow (PS3.8 table 9-10)."""

    def __init__(self, pdu_type: int) -> None:
        super().__init__(f"PDU type {pdu_type:#04x} is not expected now", reason=2)


class InvalidPDU(ProtocolViolation):
    """A length or a value inside a PDU contradicts PS3.8 section 9.3."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, reason=6)


class PDUTooLong(ProtocolViolation):
    """A PDU announces more bytes than we accept; nothing of it is read."""

    def __init__(self, length: int, length_max: int) -> None:
        super().__init__(f"PDU of {length} bytes announced, at most {length_max} are accepted", reason=6)


class InvalidMessage(ProtocolViolation):
    """A DIMSE command set or the order of its fragments contradicts PS3.7."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence, reason=6)


class MessageTooLong(ProtocolViolation):
    """A DIMSE message grew past the cap without its last fragment."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__(f"a message exceeds {bytes_max} bytes", reason=6)


class AssociationRefused(GatewayError):
    """An association is rejected before it exists (A-ASSOCIATE-RJ, PS3.8 table 9-21).

    result: 1 permanent, 2 transient. source: 1 service user, 2 ACSE provider, 3 presentation provider.
    """

    def __init__(self, sentence: str, result: int, source: int, reason: int) -> None:
        super().__init__(sentence)
        self.result = result
        self.source = source
        self.reason = reason

    @property
    def is_permanent(self) -> bool:
        return self.result == 1


class CallingAETitleNotRecognized(AssociationRefused):
    """No peer with this calling AE title may send to us. The sentence is for us; on the wire is no more than that."""

    def __init__(self, sentence: str = "calling AE title not recognized") -> None:
        super().__init__(sentence, result=1, source=1, reason=3)


class HostNotAllowed(CallingAETitleNotRecognized):
    """The AE title is a peer's, the host is not one of its hosts."""

    def __init__(self) -> None:
        super().__init__("host not allowed for this peer")


class CertificateNotAllowed(CallingAETitleNotRecognized):
    """The AE title is a peer's, the certificate is not one of its certificates, or there is none."""

    def __init__(self) -> None:
        super().__init__("certificate not allowed for this peer")


class CalledAETitleNotRecognized(AssociationRefused):
    """We do not answer to this called AE title."""

    def __init__(self) -> None:
        super().__init__("called AE title not recognized", result=1, source=1, reason=7)


class ApplicationContextNotSupported(AssociationRefused):
    """The application context is not the DICOM one (PS3.7 annex A.2.1)."""

    def __init__(self) -> None:
        super().__init__("application context name not supported", result=1, source=1, reason=2)


class ProtocolVersionNotSupported(AssociationRefused):
    """The requestor does not speak version 1 of the upper layer protocol."""

    def __init__(self) -> None:
        super().__init__("protocol version not supported", result=1, source=2, reason=2)


class TooManyAssociations(AssociationRefused):
    """The cap on connections, in all or of one host, is reached."""

    def __init__(self) -> None:
        super().__init__("local limit exceeded", result=2, source=3, reason=2)


class TemporarilyUnavailable(AssociationRefused):
    """The gateway is draining, or its database does not answer."""

    def __init__(self) -> None:
        super().__init__("temporary congestion", result=2, source=3, reason=1)


class RequestRefused(GatewayError):
    """A DIMSE request ends in a failure status; the association lives on. See `status`."""

    error_id = 0
    """Error ID (0000,0903) beside the status; 0 where the service class defines none."""


class InstanceRefused(RequestRefused):
    """A C-STORE request ends in a failure status."""


class InvalidObjectInstance(InstanceRefused):
    """The SOP Instance UID of the command is not a UID (PS3.5 section 9.1)."""


class SOPClassDoesNotMatch(InstanceRefused):
    """The command, the presentation context and the data set name different SOP classes or instances."""


class DataSetHeadUnreadable(InstanceRefused):
    """The head of the data set cannot be read up to the Series Instance UID."""


class OutOfResources(InstanceRefused):
    """Disk or database cannot take the instance now; the peer may send it again later."""


class OperationNotSupported(RequestRefused):
    """The SOP class of the presentation context does not have this operation, or we do not provide it."""


class DifferentInstanceStored(InstanceRefused):
    """Another object is already stored under this SOP Instance UID; the second is in quarantine."""


class DifferentInstanceKeptAside(DifferentInstanceStored):
    """The same, for a peer that is set to be answered with a warning instead of a failure."""


class InstanceNotAllowed(InstanceRefused):
    """This peer may not send objects of this modality or SOP class."""


class NotAPart10File(GatewayError):
    """A file that should be sent is not DICOM Part 10, or does not say what it holds."""


class StoreLocationInvalid(GatewayError):
    """A location does not point into the instance store."""


class BodyNotTaken(GatewayError):
    """The body of an HTTP request is not read to its end.

    http_status: if nothing was stored before. failure_reason: as (0008,1197) beside what was stored.
    """

    http_status: ClassVar[int] = 400
    failure_reason: ClassVar[int] = 0x0110


class MultipartMalformed(BodyNotTaken):
    """A multipart body is not one: its boundaries or the head of a part contradict RFC 2046."""

    failure_reason = 0xC000


class TooManyInstances(BodyNotTaken):
    """The request holds more parts than are taken in one; the rest may come in another."""

    http_status = 413
    failure_reason = 0x0213


class BodyTooSlow(BodyNotTaken):
    """The body came slower than a request may; what is missing may come in another."""

    http_status = 408


class ClientGone(BodyNotTaken):
    """The client closed the connection before the body was whole."""


class SOPClassNotSupported(InstanceRefused):
    """The SOP class is not one of those that are stored here."""


class TransferSyntaxNotSupported(InstanceRefused):
    """The transfer syntax of a file is not one of those that are stored here."""


class FileUnreadable(InstanceRefused):
    """What was sent is not a DICOM Part 10 file with complete file meta information."""


class StudyDoesNotMatch(InstanceRefused):
    """The instance belongs to another study than the one that the request names."""


class InstanceTooLarge(InstanceRefused):
    """The instance is larger than this server receives."""


class PartIsNotDicom(InstanceRefused):
    """A part of the body declares another media type than application/dicom."""
