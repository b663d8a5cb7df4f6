"""Orthanc stores with us, asks for storage commitment and gets its report on an association that we open."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from pipeline.report_commitment import report
from tests.archive_peers import RunningArchive, orthanc, write_study
from tests.pipeline.conftest import ALPHA, Clinic
from tests.pipeline.services import running_gateway

pytestmark = pytest.mark.peer


def call(archive: RunningArchive, method: str, path: str, value: Any = None) -> Any:
    body = None if value is None else json.dumps(value).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{archive.http_port}{path}", body, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"null")


def test_orthanc_is_told_what_we_keep(clinic: Clinic, tmp_path: Path) -> None:
    here, there = tmp_path / "files", tmp_path / "orthanc"
    here.mkdir()
    there.mkdir()
    files = write_study(here, "1.2.840.77.1", series=(2,))
    with orthanc(there) as archive, running_gateway(clinic) as port:
        archive.store(files)
        clinic.owner.execute(
            "INSERT INTO peer (tenant, ae_title, host, port) VALUES ('alpha', 'ORTHANC', '127.0.0.1', %s)",
            (archive.port,),
        )
        call(archive, "PUT", "/modalities/radmeter", ["ALPHA", "127.0.0.1", port])
        job = call(
            archive, "POST", "/modalities/radmeter/store",
            {"Resources": call(archive, "GET", "/studies"), "StorageCommitment": True, "Synchronous": True},
        )  # fmt: skip
        transaction = job["StorageCommitmentTransactionUID"]
        assert call(archive, "GET", f"/storage-commitment/{transaction}")["Status"] == "Pending"
        (row,) = clinic.rows("SELECT * FROM storage_commitment")
        assert (row["ae_title"], row["transaction_uid"], row["failed"]) == ("ORTHANC", transaction, [])
        report(clinic.services, ALPHA, "ORTHANC", transaction)
        told = call(archive, "GET", f"/storage-commitment/{transaction}")
        assert told["Status"] == "Success"
        assert len(told["Success"]) == 2
        modality = {"DicomInstances": [["1.2.840.10008.5.1.4.1.1.2", "1.2.9"]]}
        second = call(archive, "POST", "/modalities/radmeter/storage-commitment", modality)["ID"]
        report(clinic.services, ALPHA, "ORTHANC", second)
        told = call(archive, "GET", f"/storage-commitment/{second}")
        assert told["Status"] == "Failure"
        (failure,) = told["Failures"]
        assert failure["SOPInstanceUID"] == "1.2.9"
        assert failure["Description"].endswith("was not available")
