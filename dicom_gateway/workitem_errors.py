"""What can be wrong with a workitem, or with what is asked of one. No message carries a value of a data set."""

from __future__ import annotations

from dicom_gateway.errors import GatewayError


class DicomJSONMalformed(GatewayError):
    """A body is not a data set in DICOM JSON."""


class WorkitemInvalid(GatewayError):
    """A workitem, a change of one or a search for some is not what the standard allows."""
