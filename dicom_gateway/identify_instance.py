"""What an instance that has arrived says it is, against what its sender announced."""

from __future__ import annotations

from dicom_gateway.data_set_head import read_head
from dicom_gateway.errors import DataSetHeadUnreadable, InstanceNotAllowed, SOPClassDoesNotMatch
from dicom_gateway.file_meta import FileMeta
from dicom_gateway.incoming_instance import IncomingInstance
from dicom_gateway.instance_sink import ReceivedInstance
from dicom_gateway.instance_store import locate
from dicom_gateway.peers import Peer
from study.errors import InvalidUID


def identify(incoming: IncomingInstance, tenant: str, announced: FileMeta) -> ReceivedInstance:
    """The whole instance with its identity and its place in the store, nothing of it stored yet.

    announced: by the command of a C-STORE, or by group 0002 of a file; the data set must agree.
    """
    head = read_head(incoming.read_at, incoming.size_bytes, announced.transfer_syntax_uid)
    if not head.sop_class_uid or not head.sop_instance_uid:
        raise DataSetHeadUnreadable("the data set does not identify itself")
    if head.sop_class_uid != announced.sop_class_uid:
        raise SOPClassDoesNotMatch("the data set has another SOP class than announced")
    if head.sop_instance_uid != announced.sop_instance_uid:
        raise SOPClassDoesNotMatch("the data set has another SOP Instance UID than announced")
    blake3 = incoming.blake3
    study_uid, series_uid = head.study_instance_uid, head.series_instance_uid
    try:
        return ReceivedInstance(
            study_instance_uid=study_uid,
            series_instance_uid=series_uid,
            sop_instance_uid=head.sop_instance_uid,
            sop_class_uid=head.sop_class_uid,
            transfer_syntax_uid=announced.transfer_syntax_uid,
            location=locate(tenant, study_uid, series_uid, head.sop_instance_uid, blake3),
            blake3=blake3,
            size_bytes=incoming.size_bytes,
            modality=head.modality,
        )
    except InvalidUID:
        raise DataSetHeadUnreadable("Study or Series Instance UID is not a UID") from None


def require_allowed(peer: Peer, received: ReceivedInstance) -> None:
    """Raise `InstanceNotAllowed` unless the peer may send this SOP class and modality."""
    if not peer.may_send_class(received.sop_class_uid):
        raise InstanceNotAllowed("this peer may not send this SOP class")
    if not peer.may_send_modality(received.modality):
        raise InstanceNotAllowed("this peer may not send this modality")
