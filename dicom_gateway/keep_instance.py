"""Keep one whole instance: file, folder and row durable, or a refusal that says why not."""

from __future__ import annotations

import logging

from dicom_gateway.errors import DifferentInstanceKeptAside, DifferentInstanceStored, OutOfResources
from dicom_gateway.incoming_instance import IncomingInstance
from dicom_gateway.instance_sink import InstanceSink, ReceivedInstance, RecordOutcome
from dicom_gateway.instance_store import InstanceStore
from dicom_gateway.peers import Peer

logger = logging.getLogger(__name__)


def keep(
    store: InstanceStore,
    sink: InstanceSink,
    association_id: int,
    peer: Peer,
    incoming: IncomingInstance,
    received: ReceivedInstance,
) -> RecordOutcome:
    """STORED or IDENTICAL, once a power cut cannot undo it.

    Raises `OutOfResources` when disk or database cannot take it now, `DifferentInstanceStored` or, by the peer's
    policy, `DifferentInstanceKeptAside` when other bytes have its UID.
    """
    try:
        store.commit(incoming, received.location, peer.tenant)
        outcome = sink.record(association_id, peer, received)
        if outcome is RecordOutcome.CONFLICT:
            store.quarantine(received.location, peer.tenant)
    except Exception as error:
        # Disk and database fail in their own ways; to the sender each means "keep it, try again".
        # The file stays: the same object may have been acknowledged before under the same name.
        name = type(error).__name__
        logger.error("instance_not_recorded association=%d error=%s", association_id, name)
        raise OutOfResources("the instance cannot be stored now") from error
    if outcome is RecordOutcome.CONFLICT:
        warns = peer.duplicate_policy == "warning"
        kind = DifferentInstanceKeptAside if warns else DifferentInstanceStored
        raise kind("another object has this SOP Instance UID")
    return outcome
