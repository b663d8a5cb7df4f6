"""The job that brings a peer the result of its storage commitment, apart from what the gateway needs to decide it."""

from __future__ import annotations

import logging

from dicom_gateway.errors import GatewayError
from dicom_gateway.report_commitment import report_commitment
from dicom_gateway.scu_association import Destination
from pipeline import commitment, store
from pipeline.destinations import DestinationRecord, find_destination
from pipeline.errors import CommitmentNotReported, PipelineError
from pipeline.send_objects import Sender
from pipeline.services import Services

log = logging.getLogger("radmeter.commitment")


def report(services: Services, tenant: str, ae_title: str, transaction_uid: str) -> None:
    """Bring the peer its report, unless it has it; raises `CommitmentNotReported` to be tried again.

    It goes where the peer listens, over TLS when a destination under its AE title says so.
    """
    with services.database.transaction(tenant) as conn:
        row = commitment.load(conn, tenant, ae_title, transaction_uid)
        calling = store.get_tenant(conn, tenant)["called_ae_title"]
        target = find_destination(conn, tenant, ae_title)
    if row["reported_at"] is not None:
        return
    node = _node(Sender(calling, services.folders.secrets), target)
    error = node if isinstance(node, str) else report_commitment(node, commitment.result_of(row))
    with services.database.transaction(tenant) as conn:
        commitment.note_report(conn, tenant, ae_title, transaction_uid, error)
    if error is not None:
        raise CommitmentNotReported(error)
    log.info("commitment_reported", extra={"tenant": tenant})


def _node(sender: Sender, target: DestinationRecord | None) -> Destination | str:
    """Where the peer listens, or why that is not known."""
    if target is None or target.kind != "dimse" or not target.host:
        return "the peer is not known by an address"
    try:
        node = sender.node(target)
    except (PipelineError, GatewayError, OSError, ValueError) as error:
        return f"the destination is not usable: {type(error).__name__}"
    assert isinstance(node, Destination)
    return node
