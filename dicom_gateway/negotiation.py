"""What an A-ASSOCIATE-RQ is checked for, and how its presentation contexts and roles are answered."""

from __future__ import annotations

from dicom_gateway.command_set import (
    PROCEDURE_STEP_SOP_CLASS,
    STORAGE_COMMITMENT_SOP_CLASS,
)
from dicom_gateway.errors import (
    ApplicationContextNotSupported,
    CalledAETitleNotRecognized,
    CallingAETitleNotRecognized,
    ProtocolVersionNotSupported,
)
from dicom_gateway.presentation_contexts import AcceptedContext, answer
from dicom_gateway.upper_layer import (
    ABSTRACT_SYNTAX_NOT_SUPPORTED,
    ACCEPTANCE,
    APPLICATION_CONTEXT_NAME,
    AnsweredContext,
    AssociateRequest,
)
from dicom_gateway.user_information import RoleSelection
from study.errors import InvalidAETitle
from study.identifiers import AETitle

_DESK_CLASSES = (STORAGE_COMMITMENT_SOP_CLASS, PROCEDURE_STEP_SOP_CLASS)


def check_request(request: AssociateRequest) -> None:
    """Raise the `AssociationRefused` that the request deserves by its form alone."""
    if not request.protocol_version & 0x0001:
        raise ProtocolVersionNotSupported
    if request.application_context != APPLICATION_CONTEXT_NAME:
        raise ApplicationContextNotSupported
    try:
        AETitle(request.called_ae_title)
    except InvalidAETitle:
        raise CalledAETitleNotRecognized from None
    try:
        AETitle(request.calling_ae_title)
    except InvalidAETitle:
        raise CallingAETitleNotRecognized from None


def answer_contexts(request: AssociateRequest, *, has_desk: bool) -> tuple[AnsweredContext, ...]:
    """One answer for each proposal, in their order.

    has_desk: whether somebody keeps the books of commitments and procedure steps; without, both are unknown.
    """
    answers = tuple(answer(context) for context in request.contexts)
    if has_desk:
        return answers
    return tuple(
        AnsweredContext(answered.context_id, ABSTRACT_SYNTAX_NOT_SUPPORTED, answered.transfer_syntax)
        if proposed.abstract_syntax in _DESK_CLASSES
        else answered
        for proposed, answered in zip(request.contexts, answers, strict=True)
    )


def answer_roles(
    request: AssociateRequest, answers: tuple[AnsweredContext, ...]
) -> tuple[RoleSelection, ...]:
    """The roles that the requestor may take (PS3.7 annex D.3.3.4), for the accepted classes it names.

    We provide every service, so a requestor may be SCU of all. It may be SCP of storage commitment alone: then
    it brings the result of a commitment that we asked for (PS3.4 section J.3.3).
    """
    accepted = {
        proposed.abstract_syntax
        for proposed, answered in zip(request.contexts, answers, strict=True)
        if answered.result == ACCEPTANCE
    }
    return tuple(
        RoleSelection(
            role.sop_class_uid,
            is_scu=role.is_scu,
            is_scp=role.is_scp and role.sop_class_uid == STORAGE_COMMITMENT_SOP_CLASS,
        )
        for role in request.user_information.roles
        if role.sop_class_uid in accepted
    )


def accepted_contexts(
    request: AssociateRequest, answers: tuple[AnsweredContext, ...], roles: tuple[RoleSelection, ...]
) -> dict[int, AcceptedContext]:
    """The accepted contexts by their identifier."""
    provided = {role.sop_class_uid for role in roles if role.is_scp}
    return {
        answered.context_id: AcceptedContext(
            answered.context_id,
            proposed.abstract_syntax,
            answered.transfer_syntax,
            requestor_is_scp=proposed.abstract_syntax in provided,
        )
        for proposed, answered in zip(request.contexts, answers, strict=True)
        if answered.result == ACCEPTANCE
    }
