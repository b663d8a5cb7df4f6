"""The archive of a peer is asked over TLS: by C-FIND and by DICOMweb, with the certificates that the peer names."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pydicom
import pytest

from dicom_gateway.archive_match import QueryLimits
from dicom_gateway.deliver_dimse import send_instances
from dicom_gateway.tls import client_context
from pipeline.archives import Archive, archive_of
from pipeline.ask_counts import CountAnswer, count_instances
from pipeline.fetch_prior import retrieve
from tests.archive_peers import orthanc
from tests.ct_files import ramp, write
from tests.pipeline.conftest import ALPHA, Clinic
from tests.tls_files import Authority
from tests.tls_front import tls_front

pytestmark = pytest.mark.peer


def test_an_archive_behind_tls_is_asked_and_never_in_the_clear(clinic: Clinic, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    authority = Authority(secrets)
    ours, theirs = authority.sign("127.0.0.1", file="ours"), authority.sign("127.0.0.1", file="theirs")
    for one in (ours, theirs):  # a certificate with its key
        with one.certificate.open("ab") as file:
            file.write(one.key.read_bytes())
    settings = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(theirs.certificate),
        "DicomTlsPrivateKey": str(theirs.key),
        "DicomTlsTrustedCertificates": str(authority.path),
    }
    paths = write(tmp_path / "series", ramp((4, 16, 16)))
    uid = str(pydicom.dcmread(paths[0]).StudyInstanceUID)

    def asked(**changes: Any) -> tuple[Archive, CountAnswer]:
        row = {
            "query_kind": "dimse", "query_ae_title": archive.ae_title, "query_host": "127.0.0.1",
            "query_port": archive.port, "query_url": None, "query_tls": True, "query_authority_file": "authority.pem",
            "query_certificate_file": "ours.pem", "query_retrieve": "get",
        } | changes  # fmt: skip
        columns = ", ".join(f"{name} = %s" for name in row)
        clinic.owner.execute(f"UPDATE peer SET {columns} WHERE tenant = 'alpha'", tuple(row.values()))
        with clinic.database.transaction(ALPHA) as conn:
            found = archive_of(conn, ALPHA, "PACS", secrets=secrets)
        assert found is not None
        return found, count_instances(found, uid)

    with orthanc(tmp_path, more=settings) as archive, tls_front(theirs, archive.http_port) as web_port:
        tls = client_context(authorities=authority.path, certificate=ours.certificate)
        outcomes = send_instances(paths, dataclasses.replace(archive.destination, tls=tls))
        assert all(one.acknowledged for one in outcomes)

        found, answer = asked()
        assert (answer.state, sum(answer.counts.values())) == ("answered", 4)
        fetched = retrieve(found, clinic.services.folders.instance_store(), clinic.sink, ALPHA, uid, 10)
        assert (fetched.completed, fetched.error) == (4, None)
        assert asked(query_tls=False)[1].state == "no_answer"
        assert asked(query_authority_file=None)[1].state == "no_answer"

        lost, answer = asked(query_certificate_file="lost.pem")
        assert answer.reason == "the archive is not asked: there is no file lost.pem in the folder of secrets"
        assert lost.search("STUDY", {"StudyInstanceUID": uid}, QueryLimits()).error == answer.reason
        assert (
            retrieve(lost, clinic.services.folders.instance_store(), clinic.sink, ALPHA, uid, 9).error
            == answer.reason
        )

        web = {"query_kind": "dicomweb", "query_url": f"https://127.0.0.1:{web_port}/dicom-web"}
        found, answer = asked(**web)
        assert sum(answer.counts.values()) == 4
        clinic.owner.execute("DELETE FROM instance")
        fetched = retrieve(found, clinic.services.folders.instance_store(), clinic.sink, ALPHA, uid, 10)
        assert (fetched.completed, fetched.error) == (4, None)
        assert clinic.rows("SELECT count(*) AS n FROM instance") == [{"n": 4}]
        distrusted = asked(**web, query_authority_file=None, query_certificate_file=None)[1]
        assert (distrusted.state, distrusted.reason) == (
            "no_answer", "the certificate is not believed: unable to get local issuer certificate",
        )  # fmt: skip
        stranger = web | {"query_url": "https://pacs.invalid/dicom-web"}
        assert asked(**stranger)[1].reason == "no address is known for the server's name"
