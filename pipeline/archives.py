"""The archive of a peer: where its studies can be asked for, and the one way to ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dicom_gateway import dicomweb_client, query_dimse
from dicom_gateway.archive_match import Level, QueryAnswer, QueryLimits
from dicom_gateway.dicomweb_client import DicomWebServer
from dicom_gateway.scu_association import Destination
from pipeline import peers, store
from pipeline.database import Connection
from pipeline.protection.master_keys import MasterKeys
from pipeline.protection.sealed_text import QUERY_SECRET, open_text

Source = Literal["c-find", "qido"]

_CONNECT_TIMEOUT_S = 5.0
_RESPONSE_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Archive:
    """How to reach it: a DICOM node, or a DICOMweb server.

    peer_ae_title: of the peer whose studies it keeps.
    retrieve: how a DICOM node hands instances over; a DICOMweb server is always asked by WADO-RS.
    """

    peer_ae_title: str
    node: Destination | DicomWebServer
    retrieve: Literal["move", "get"] = "move"

    @property
    def source(self) -> Source:
        return "c-find" if isinstance(self.node, Destination) else "qido"

    def search(self, level: Level, keys: Mapping[str, str], limits: QueryLimits) -> QueryAnswer:
        """C-FIND or QIDO-RS; never raises for what the archive does."""
        if isinstance(self.node, Destination):
            return query_dimse.find(self.node, level, keys, limits)
        return dicomweb_client.search(self.node, level, keys, limits)


def has_archive(conn: Connection, tenant: str, ae_title: str) -> bool:
    """Whether an archive is set for the peer of this AE title."""
    peer = peers.get_peer(conn, tenant, ae_title)
    return peer is not None and peer["query_kind"] != "none"


def archive_of(
    conn: Connection, tenant: str, ae_title: str, masters: MasterKeys | None = None
) -> Archive | None:
    """The archive that is set for the peer of this AE title; None where there is none.

    masters: what opens its password.
    """
    peer = peers.get_peer(conn, tenant, ae_title)
    if peer is None or peer["query_kind"] == "none":
        return None
    if peer["query_secret"]:
        about = QUERY_SECRET.about(tenant, ae_title)
        peer = peer | {"query_secret": open_text(conn, masters, tenant, about, peer["query_secret"])}
    return archive_at(peer, calling_ae_title=store.get_tenant(conn, tenant)["called_ae_title"])


def archive_at(peer: dict[str, Any], *, calling_ae_title: str) -> Archive:
    """The archive that a row of `peer` names, its secret opened."""
    node: Destination | DicomWebServer
    if peer["query_kind"] == "dicomweb":
        node = DicomWebServer(peer["query_url"], peer["query_username"] or "", peer["query_secret"] or "")
    else:
        node = Destination(
            host=peer["query_host"] or peer["host"],
            port=peer["query_port"] or peer["port"],
            called_ae_title=peer["query_ae_title"] or peer["ae_title"],
            calling_ae_title=calling_ae_title,
            connect_timeout_s=_CONNECT_TIMEOUT_S,
            acse_timeout_s=_CONNECT_TIMEOUT_S,
            dimse_timeout_s=_RESPONSE_TIMEOUT_S,
        )
    return Archive(peer["ae_title"], node, peer["query_retrieve"])
