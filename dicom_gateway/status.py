"""Our error -> DIMSE status, one table (PS3.4 section B.2.3, PS3.7 annex C)."""

from __future__ import annotations

from dicom_gateway import service_errors
from dicom_gateway.errors import (
    DataSetHeadUnreadable,
    DifferentInstanceKeptAside,
    DifferentInstanceStored,
    InstanceNotAllowed,
    InvalidObjectInstance,
    OperationNotSupported,
    OutOfResources,
    RequestRefused,
    SOPClassDoesNotMatch,
)

SUCCESS = 0x0000
INVALID_ATTRIBUTE_VALUE = 0x0106
PROCESSING_FAILURE = 0x0110
DUPLICATE_SOP_INSTANCE = 0x0111
NO_SUCH_SOP_INSTANCE = 0x0112
NO_SUCH_EVENT_TYPE = 0x0113
INVALID_ARGUMENT_VALUE = 0x0115
INVALID_OBJECT_INSTANCE = 0x0117
NO_SUCH_SOP_CLASS = 0x0118
CLASS_INSTANCE_CONFLICT = 0x0119
MISSING_ATTRIBUTE = 0x0120
SOP_CLASS_NOT_SUPPORTED = 0x0122
NO_SUCH_ACTION_TYPE = 0x0123
NOT_AUTHORIZED = 0x0124
DUPLICATE_TRANSACTION_UID = 0x0131
UNRECOGNIZED_OPERATION = 0x0211
RESOURCE_LIMITATION = 0x0213
OUT_OF_RESOURCES = 0xA700
DATA_SET_DOES_NOT_MATCH_SOP_CLASS = 0xA900
WARNING = 0xB000
CANNOT_UNDERSTAND = 0xC000

STATUS_OF: dict[type[RequestRefused], int] = {
    DifferentInstanceStored: DUPLICATE_SOP_INSTANCE,
    DifferentInstanceKeptAside: WARNING,
    InstanceNotAllowed: NOT_AUTHORIZED,
    InvalidObjectInstance: INVALID_OBJECT_INSTANCE,
    OperationNotSupported: UNRECOGNIZED_OPERATION,
    OutOfResources: OUT_OF_RESOURCES,
    SOPClassDoesNotMatch: DATA_SET_DOES_NOT_MATCH_SOP_CLASS,
    DataSetHeadUnreadable: CANNOT_UNDERSTAND,
    service_errors.OperationOfAnotherSOPClass: SOP_CLASS_NOT_SUPPORTED,
    service_errors.RequestUnreadable: INVALID_ARGUMENT_VALUE,
    service_errors.RequestTooLarge: RESOURCE_LIMITATION,
    service_errors.RequestNotCarriedOut: PROCESSING_FAILURE,
    service_errors.SOPClassNotInContext: NO_SUCH_SOP_CLASS,
    service_errors.NoSuchSOPInstance: NO_SUCH_SOP_INSTANCE,
    service_errors.NoSuchActionType: NO_SUCH_ACTION_TYPE,
    service_errors.NoSuchEventType: NO_SUCH_EVENT_TYPE,
    service_errors.AttributeMissing: MISSING_ATTRIBUTE,
    service_errors.AttributeValueInvalid: INVALID_ATTRIBUTE_VALUE,
    service_errors.DuplicateTransactionUID: DUPLICATE_TRANSACTION_UID,
    service_errors.TooManyCommitments: RESOURCE_LIMITATION,
    service_errors.ProcedureStepExists: DUPLICATE_SOP_INSTANCE,
    service_errors.ProcedureStepIsFinal: PROCESSING_FAILURE,
}


def status_of(error: RequestRefused) -> int:
    """The status to answer with; an error without its own entry is "cannot understand"."""
    return STATUS_OF.get(type(error), CANNOT_UNDERSTAND)


def is_stored(status: int) -> bool:
    """Whether a C-STORE response says that the peer keeps the instance (success or a B000H warning)."""
    return status == SUCCESS or 0xB000 <= status <= 0xBFFF


def is_refusal(status: int) -> bool:
    """Whether a C-STORE response says no to the instance itself, rather than to this moment.

    Out of resources (A7xxH, 0213H) and processing failure (0110H) may pass by themselves.
    """
    may_pass = status in (PROCESSING_FAILURE, RESOURCE_LIMITATION) or status & 0xFF00 == OUT_OF_RESOURCES
    return not is_stored(status) and not may_pass


def describe(status: int) -> str:
    """What a C-STORE status means, in a few words (PS3.4 table B.2-1, PS3.7 annex C)."""
    if status in _MEANINGS:
        return _MEANINGS[status]
    for mask, value, meaning in _RANGES:
        if status & mask == value:
            return meaning
    return f"unknown status {status:04X}H"


_MEANINGS = {
    SUCCESS: "stored",
    0x0105: "no such attribute",
    INVALID_ATTRIBUTE_VALUE: "invalid attribute value",
    PROCESSING_FAILURE: "processing failure",
    DUPLICATE_SOP_INSTANCE: "another object has this SOP Instance UID",
    NO_SUCH_SOP_INSTANCE: "no such object instance",
    INVALID_OBJECT_INSTANCE: "invalid object instance",
    NO_SUCH_SOP_CLASS: "no such SOP class",
    SOP_CLASS_NOT_SUPPORTED: "SOP class not supported",
    NOT_AUTHORIZED: "not authorized",
    0x0210: "duplicate invocation",
    UNRECOGNIZED_OPERATION: "unrecognized operation",
    0x0212: "mistyped argument",
    RESOURCE_LIMITATION: "resource limitation",
    WARNING: "stored with coerced attributes",
    0xB006: "stored without some elements",
    0xB007: "stored, data set does not match the SOP class",
}
_RANGES = (
    (0xFF00, OUT_OF_RESOURCES, "out of resources"),
    (0xFF00, DATA_SET_DOES_NOT_MATCH_SOP_CLASS, "data set does not match the SOP class"),
    (0xF000, CANNOT_UNDERSTAND, "cannot understand"),
    (0xF000, 0xB000, "stored with a warning"),
)
