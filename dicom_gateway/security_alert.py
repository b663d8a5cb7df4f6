"""What a peer tried and was denied, for the audit trail (PS3.15 annex A.5, "Security Alert")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dicom_gateway.errors import InstanceNotAllowed
from dicom_gateway.peers import Peer

AlertKind = Literal["association_rejected", "tls_failed", "instance_refused", "instance_differs"]


@dataclass(frozen=True)
class SecurityAlert:
    """One denial. Holds no value of a data set.

    reason: a sentence of ours.
    calling_ae_title, called_ae_title: as the peer gave them, "" where it did not come so far.
    certificate: SHA-256 fingerprint of what the peer proved to hold, "" without.
    tenant: None as long as it is not known.
    study: our id of the study, "" where there is none.
    """

    kind: AlertKind
    reason: str
    remote_host: str = ""
    calling_ae_title: str = ""
    called_ae_title: str = ""
    certificate: str = ""
    tenant: str | None = None
    study: str = ""


def refused_instance(peer: Peer, refusal: InstanceNotAllowed) -> SecurityAlert:
    """A peer sent what it may not send."""
    return SecurityAlert("instance_refused", str(refusal), calling_ae_title=peer.ae_title, tenant=peer.tenant)
