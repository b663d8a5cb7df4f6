"""Report the result of a storage commitment on an association of our own (PS3.4 section J.3.3)."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import build_context

from dicom_gateway.command_set import STORAGE_COMMITMENT_SOP_CLASS, STORAGE_COMMITMENT_SOP_INSTANCE
from dicom_gateway.scu_association import Destination, open_association
from dicom_gateway.status import SUCCESS, describe
from dicom_gateway.storage_commitment import CommitmentResult, Reference
from dicom_gateway.transfer_syntaxes import UNCOMPRESSED_LITTLE_ENDIAN


def report_commitment(destination: Destination, result: CommitmentResult) -> str | None:
    """Send N-EVENT-REPORT in the role of the SCP; None when the peer took it, else the reason as a sentence."""
    context = build_context(STORAGE_COMMITMENT_SOP_CLASS, list(UNCOMPRESSED_LITTLE_ENDIAN))
    with open_association(destination, [context], roles=[_we_are_scp()]) as link:
        if isinstance(link, str):
            return link
        if not any(one.as_scp for one in link.accepted_contexts):
            return "the peer does not take us as a provider of storage commitment"
        try:
            status, _ = link.send_n_event_report(
                _event_information(result),
                result.event_type,
                STORAGE_COMMITMENT_SOP_CLASS,
                STORAGE_COMMITMENT_SOP_INSTANCE,
            )
        except Exception as error:
            return f"not reported: {type(error).__name__}"
    if "Status" not in status:
        return "no response from the peer"
    return None if status.Status == SUCCESS else f"{describe(status.Status)} ({status.Status:04X}H)"


def _we_are_scp() -> SCP_SCU_RoleSelectionNegotiation:
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid = STORAGE_COMMITMENT_SOP_CLASS
    role.scu_role, role.scp_role = False, True
    return role


def _event_information(result: CommitmentResult) -> Dataset:
    information = Dataset()
    information.TransactionUID = result.transaction_uid
    if result.failed:
        information.FailedSOPSequence = [_item(one, reason) for one, reason in result.failed.items()]
    if result.committed:
        information.ReferencedSOPSequence = [_item(one) for one in result.committed]
    return information


def _item(reference: Reference, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    if reason is not None:
        item.FailureReason = reason
    return item
