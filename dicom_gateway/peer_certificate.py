"""The certificate that a peer proved to hold, as the names a peer's entry may list."""

from __future__ import annotations

import hashlib
import re
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from dicom_gateway.errors import CertificateNameInvalid

_FINGERPRINT = re.compile(r"(?:[0-9a-f]{2}:?){31}[0-9a-f]{2}", re.ASCII)
_SHORT = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "stateOrProvinceName": "ST",
    "localityName": "L",
    "serialNumber": "serialNumber",
    "emailAddress": "emailAddress",
    "domainComponent": "DC",
}
_ALTERNATIVE = {"DNS": "dns", "IP Address": "ip", "URI": "uri"}
KINDS = ("sha256", "subject", "cn", "dns", "ip", "uri")


@dataclass(frozen=True)
class PeerCertificate:
    """names: `sha256:<64 hex digits>`, and if an authority of ours signed it `subject:CN=…,O=…`, `cn:…`, `dns:…`,
    `ip:…` and `uri:…`; each in the form of `canonical_name`."""

    names: frozenset[str]

    @property
    def fingerprint(self) -> str:
        return next(name for name in self.names if name.startswith("sha256:"))


def certificate_of(link: ssl.SSLSocket) -> PeerCertificate | None:
    """What the peer of this connection has proved; None without a certificate."""
    encoded = link.getpeercert(binary_form=True)
    if not encoded:
        return None
    names = {f"sha256:{hashlib.sha256(encoded).hexdigest()}"}
    decoded: dict[str, Any] = link.getpeercert() or {}  # empty unless it was verified
    subject = [(key, value) for part in decoded.get("subject", ()) for key, value in part]
    if subject:
        parts = (f"{_SHORT.get(key, key)}={value.replace(',', chr(92) + ',')}" for key, value in subject)
        names.add(f"subject:{','.join(parts)}")
    names |= {f"cn:{value.lower()}" for key, value in subject if key == "commonName"}
    for kind, value in decoded.get("subjectAltName", ()):
        if kind in _ALTERNATIVE:
            names.add(f"{_ALTERNATIVE[kind]}:{value.strip().lower()}")
    return PeerCertificate(frozenset(names))


def canonical_name(text: str) -> str:
    """One entry of a peer's list as it is compared. Raises `CertificateNameInvalid`.

    Taken are a SHA-256 fingerprint with or without colons, and `kind:value` for each kind of `KINDS`.
    """
    bare = text.strip()
    kind, separator, value = bare.partition(":")
    fingerprint = (value if kind.lower() == "sha256" else bare).lower()
    if _FINGERPRINT.fullmatch(fingerprint):
        return "sha256:" + fingerprint.replace(":", "")
    kind, value = kind.lower(), value.strip()
    if not separator or kind not in KINDS or kind == "sha256" or not value or not value.isprintable():
        raise CertificateNameInvalid(text)
    if kind == "ip":
        try:
            value = str(ip_address(value))
        except ValueError:
            raise CertificateNameInvalid(text) from None
    return f"{kind}:{value if kind == 'subject' else value.lower()}"
