"""Orthanc speaks DICOM over TLS with us, in both directions, each side with a certificate."""

from __future__ import annotations

import dataclasses
import json
import urllib.request
from pathlib import Path
from typing import Any

import pydicom
import pytest

from dicom_gateway.deliver_dimse import send_instances
from dicom_gateway.receive_dimse import Listener
from dicom_gateway.retrieve_dimse import move
from dicom_gateway.tls import TLSContexts, TLSFiles, client_context, secure_as_server
from tests.archive_peers import orthanc
from tests.ct_files import ramp, write
from tests.dicom_peers import StartAcceptor
from tests.tls_files import Authority

pytestmark = pytest.mark.peer


def post(url: str, body: bytes) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, data=body, method="POST"), timeout=60) as answer:
        return json.load(answer)


def test_orthanc_takes_a_series_from_us_and_sends_it_back(
    start_acceptor: StartAcceptor, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    ours, theirs = authority.sign("127.0.0.1", file="ours"), authority.sign("127.0.0.1", file="theirs")
    files = TLSFiles(ours.certificate, ours.key, authority.path, client_certificate="required")
    handshake = secure_as_server(TLSContexts(files))
    running = start_acceptor(listeners=[Listener("127.0.0.1", 0, handshake)])
    settings = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(theirs.certificate),
        "DicomTlsPrivateKey": str(theirs.key),
        "DicomTlsTrustedCertificates": str(authority.path),
        "DicomModalities": {
            "radmeter": {"AET": "RADMETER", "Host": "127.0.0.1", "Port": running.port, "UseDicomTls": True}
        },
    }
    paths = write(tmp_path / "series", ramp((12, 64, 64)))
    with orthanc(tmp_path, plugins=(), more=settings) as archive:
        context = client_context(authorities=authority.path, certificate=ours.certificate, key=ours.key)
        outcomes = send_instances(paths, dataclasses.replace(archive.destination, tls=context))
        assert [outcome.error for outcome in outcomes if not outcome.acknowledged] == []
        plain = send_instances(paths[:1], archive.destination)
        assert not plain[0].acknowledged
        url = f"http://127.0.0.1:{archive.http_port}"
        numbers = json.load(urllib.request.urlopen(f"{url}/instances", timeout=30))
        job = post(f"{url}/modalities/radmeter/store", json.dumps(numbers).encode())
        stored_by_it = len(running.stored_files())
        # A C-MOVE that is asked for over TLS is answered over TLS.
        uid = str(pydicom.dcmread(paths[0]).StudyInstanceUID)
        moved = move(dataclasses.replace(archive.destination, tls=context), uid)
        assert (moved.completed, moved.failed, moved.error) == (12, 0, None)
    assert (job["InstancesCount"], job["FailedInstancesCount"], stored_by_it) == (12, 0, 12)
    assert len(running.sink.certificates) >= 2
    assert {one and one.names >= {"ip:127.0.0.1"} for one in running.sink.certificates} == {True}
