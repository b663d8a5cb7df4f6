"""Why a request other than C-STORE is refused; `status` has the status of each.

No sentence carries a UID or another value of a data set: they reach logs and, as Error Comment, peers.
"""

from __future__ import annotations

from dicom_gateway.errors import RequestRefused


class RequestUnreadable(RequestRefused):
    """The data set of the request cannot be read."""


class RequestTooLarge(RequestRefused):
    """The data set of the request is larger than such a request may be."""


class RequestNotCarriedOut(RequestRefused):
    """The database does not answer; the peer may ask again later."""


class SOPClassNotInContext(RequestRefused):
    """An N- operation names another SOP class than its presentation context."""


class OperationOfAnotherSOPClass(RequestRefused):
    """A C-ECHO, C-FIND, C-MOVE or C-GET names another SOP class than its presentation context."""


class NoSuchSOPInstance(RequestRefused):
    """The operation names an instance that does not exist for this peer."""


class NoSuchActionType(RequestRefused):
    """The SOP class has no action of this type."""


class NoSuchEventType(RequestRefused):
    """The SOP class has no event of this type."""


class AttributeMissing(RequestRefused):
    """An attribute without which the request means nothing is missing."""


class AttributeValueInvalid(RequestRefused):
    """An attribute has a value that the standard does not allow."""


class DuplicateTransactionUID(RequestRefused):
    """The peer asked for another commitment under this Transaction UID."""


class TooManyCommitments(RequestRefused):
    """The peer has not taken the results of its earlier requests; it gets no more of them before it does."""


class ProcedureStepExists(RequestRefused):
    """A procedure step has this SOP Instance UID already."""


class ProcedureStepIsFinal(RequestRefused):
    """The procedure step is completed or discontinued and may no longer be updated."""

    error_id = 0xA710  # PS3.4 table F.7.2-2
