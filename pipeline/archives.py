"""The archive of a peer: where its studies can be asked for, and the one way to ask."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from dicom_gateway import dicomweb_client, query_dimse
from dicom_gateway.archive_match import Level, QueryAnswer, QueryLimits
from dicom_gateway.dicomweb_client import DicomWebServer
from dicom_gateway.errors import GatewayError
from dicom_gateway.scu_association import Destination
from dicom_gateway.tls import client_context
from pipeline import peers, store
from pipeline.database import Connection
from pipeline.errors import SecretMissing
from pipeline.protection.master_keys import MasterKeys
from pipeline.protection.sealed_text import QUERY_SECRET, open_text
from pipeline.secret_files import secret_file

Source = Literal["c-find", "qido"]

_CONNECT_TIMEOUT_S = 5.0
_RESPONSE_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Archive:
    """How to reach it: a DICOM node, or a DICOMweb server.

    peer_ae_title: of the peer whose studies it keeps.
    retrieve: how a DICOM node hands instances over; a DICOMweb server is always asked by WADO-RS.
    problem: why it must not be asked: its certificates are not usable.
    """

    peer_ae_title: str
    node: Destination | DicomWebServer
    retrieve: Literal["move", "get"] = "move"
    problem: str | None = None

    @property
    def source(self) -> Source:
        return "c-find" if isinstance(self.node, Destination) else "qido"

    def search(self, level: Level, keys: Mapping[str, str], limits: QueryLimits) -> QueryAnswer:
        """C-FIND or QIDO-RS; never raises for what the archive does."""
        if self.problem is not None:
            return QueryAnswer((), self.problem)
        if isinstance(self.node, Destination):
            return query_dimse.find(self.node, level, keys, limits)
        return dicomweb_client.search(self.node, level, keys, limits)

    def test(self) -> str | None:
        """Ask for a study that nobody has; None when it answers, else why it did not."""
        nobodys = {"StudyInstanceUID": f"2.25.{uuid4().int}"}
        return self.search("STUDY", nobodys, QueryLimits(matches_max=1, time_s=10.0)).error


def has_archive(conn: Connection, tenant: str, ae_title: str) -> bool:
    """Whether an archive is set for the peer of this AE title."""
    peer = peers.get_peer(conn, tenant, ae_title)
    return peer is not None and peer["query_kind"] != "none"


def archive_of(
    conn: Connection,
    tenant: str,
    ae_title: str,
    masters: MasterKeys | None = None,
    secrets: Path | None = None,
) -> Archive | None:
    """The archive that is set for the peer of this AE title; None where there is none.

    masters: what opens its password. secrets: the folder of the certificates that it names.
    """
    peer = peers.get_peer(conn, tenant, ae_title)
    if peer is None or peer["query_kind"] == "none":
        return None
    if peer["query_secret"]:
        about = QUERY_SECRET.about(tenant, ae_title)
        peer = peer | {"query_secret": open_text(conn, masters, tenant, about, peer["query_secret"])}
    calling_ae_title = store.get_tenant(conn, tenant)["called_ae_title"]
    return archive_at(peer, calling_ae_title=calling_ae_title, secrets=secrets)


def archive_at(peer: dict[str, Any], *, calling_ae_title: str, secrets: Path | None = None) -> Archive:
    """The archive that a row of `peer` names, its secret opened."""
    node: Destination | DicomWebServer
    tls = problem = None
    try:
        tls = _tls(peer, secrets)
    except (GatewayError, SecretMissing, OSError) as error:
        problem = f"the archive is not asked: {error}"
    if peer["query_kind"] == "dicomweb":
        node = DicomWebServer(
            peer["query_url"], peer["query_username"] or "", peer["query_secret"] or "", tls=tls
        )
    else:
        node = Destination(
            host=peer["query_host"] or peer["host"],
            port=peer["query_port"] or peer["port"],
            called_ae_title=peer["query_ae_title"] or peer["ae_title"],
            calling_ae_title=calling_ae_title,
            connect_timeout_s=_CONNECT_TIMEOUT_S,
            acse_timeout_s=_CONNECT_TIMEOUT_S,
            dimse_timeout_s=_RESPONSE_TIMEOUT_S,
            tls=tls,
        )
    return Archive(peer["ae_title"], node, peer["query_retrieve"], problem)


def _tls(peer: dict[str, Any], secrets: Path | None) -> ssl.SSLContext | None:
    """None for plain DICOM, and for a web server that the machine's authorities vouch for."""
    authorities, certificate = peer["query_authority_file"], peer["query_certificate_file"]
    is_web = peer["query_kind"] == "dicomweb"
    if not (authorities or certificate) if is_web else not peer["query_tls"]:
        return None
    return client_context(
        authorities=secret_file(secrets, authorities), certificate=secret_file(secrets, certificate)
    )
