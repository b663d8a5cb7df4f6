"""What can go wrong when we ask an archive over the web."""

from __future__ import annotations

from dicom_gateway.errors import GatewayError


class DicomWebURLInvalid(GatewayError):
    """A DICOMweb address is not http:// or https:// with a host, or carries a password, a query or a fragment."""

    def __init__(self, url: str) -> None:
        super().__init__(f"not the address of a DICOMweb server: {url}")


class ServerRefused(GatewayError):
    """The server answered with something else than what was asked for; the message says with what."""
