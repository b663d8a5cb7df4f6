"""Which presentation contexts we accept, and with which transfer syntax."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dicom_gateway.command_set import (
    PROCEDURE_STEP_SOP_CLASS,
    STORAGE_COMMITMENT_SOP_CLASS,
    VERIFICATION_SOP_CLASS,
)
from dicom_gateway.storage_sop_classes import STORAGE_SOP_CLASSES
from dicom_gateway.transfer_syntaxes import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    LAST_RESORTS,
    TRANSFER_SYNTAXES,
    UNCOMPRESSED_LITTLE_ENDIAN,
)
from dicom_gateway.upper_layer import (
    ABSTRACT_SYNTAX_NOT_SUPPORTED,
    ACCEPTANCE,
    TRANSFER_SYNTAXES_NOT_SUPPORTED,
    AnsweredContext,
    ProposedContext,
)

__all__ = [
    "ABSTRACT_SYNTAXES",
    "EXPLICIT_VR_LITTLE_ENDIAN",
    "IMPLICIT_VR_LITTLE_ENDIAN",
    "OTHER_SOP_CLASSES",
    "STORAGE_SOP_CLASSES",
    "TRANSFER_SYNTAXES",
    "AcceptedContext",
    "answer",
    "choose_transfer_syntax",
]

OTHER_SOP_CLASSES: dict[str, str] = {
    VERIFICATION_SOP_CLASS: "Verification SOP Class",
    STORAGE_COMMITMENT_SOP_CLASS: "Storage Commitment Push Model SOP Class",
    PROCEDURE_STEP_SOP_CLASS: "Modality Performed Procedure Step SOP Class",
}
ABSTRACT_SYNTAXES: dict[str, str] = OTHER_SOP_CLASSES | STORAGE_SOP_CLASSES


@dataclass(frozen=True)
class AcceptedContext:
    """A presentation context both sides agreed on.

    requestor_is_scp: by role selection; it may then make the requests of an SCP.
    """

    context_id: int
    sop_class_uid: str
    transfer_syntax_uid: str
    requestor_is_scp: bool = False


def answer(proposed: ProposedContext) -> AnsweredContext:
    """Accept with one transfer syntax, or say what is not supported (PS3.8 table 9-18)."""
    if proposed.abstract_syntax not in ABSTRACT_SYNTAXES:
        return AnsweredContext(proposed.context_id, ABSTRACT_SYNTAX_NOT_SUPPORTED, IMPLICIT_VR_LITTLE_ENDIAN)
    syntaxes = proposed.transfer_syntaxes
    if proposed.abstract_syntax in OTHER_SOP_CLASSES:
        syntaxes = tuple(syntax for syntax in syntaxes if syntax in UNCOMPRESSED_LITTLE_ENDIAN)
    syntax = choose_transfer_syntax(syntaxes)
    if syntax is None:
        return AnsweredContext(
            proposed.context_id, TRANSFER_SYNTAXES_NOT_SUPPORTED, IMPLICIT_VR_LITTLE_ENDIAN
        )
    return AnsweredContext(proposed.context_id, ACCEPTANCE, syntax)


def choose_transfer_syntax(proposed: Sequence[str]) -> str | None:
    """The requestor's first syntax that we store; implicit VR and big endian only where it names nothing better.

    The requestor lists first what it holds, so nothing is transcoded for us.
    """
    stored = [syntax for syntax in proposed if syntax in TRANSFER_SYNTAXES]
    best = next((syntax for syntax in stored if syntax not in LAST_RESORTS), None)
    return best or next((syntax for syntax in LAST_RESORTS if syntax in stored), None)
