"""What an A-ASSOCIATE-RQ is checked for, and how its presentation contexts are answered."""

from __future__ import annotations

from dicom_gateway.errors import (
    ApplicationContextNotSupported,
    CalledAETitleNotRecognized,
    CallingAETitleNotRecognized,
    ProtocolVersionNotSupported,
)
from dicom_gateway.presentation_contexts import AcceptedContext, answer
from dicom_gateway.upper_layer import (
    ACCEPTANCE,
    APPLICATION_CONTEXT_NAME,
    AnsweredContext,
    AssociateRequest,
)
from study.errors import InvalidAETitle
from study.identifiers import AETitle


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


def answer_contexts(request: AssociateRequest) -> tuple[AnsweredContext, ...]:
    return tuple(answer(context) for context in request.contexts)


def accepted_contexts(
    request: AssociateRequest, answers: tuple[AnsweredContext, ...]
) -> dict[int, AcceptedContext]:
    """The accepted contexts by their identifier."""
    return {
        answered.context_id: AcceptedContext(
            answered.context_id, proposed.abstract_syntax, answered.transfer_syntax
        )
        for proposed, answered in zip(request.contexts, answers, strict=True)
        if answered.result == ACCEPTANCE
    }
