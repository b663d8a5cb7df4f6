"""Work handed over by UPS-RS alone: a server fetches the images from Orthanc, and the requester hears of the end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pydicom
import pytest
from websockets.sync.client import connect

from dicom_gateway.dicom_json import code, element
from dicom_gateway.write_ct import write_ct_series
from models.lung_nodule_ct.phantom import Phantom
from study.study import Patient
from tests import archive_peers
from tests.server_process import RunningServer

pytestmark = pytest.mark.peer

PATIENT = Patient(patient_id="MARKER-ID", name="Marker^Ada", birth_date="19700101", sex="F")
UID = "1.2.826.0.1.9"


def test_a_workitem_is_performed_on_images_from_the_archive_and_ends_with_its_results(
    start_server: Callable[..., RunningServer], phantom: Phantom, tmp_path: Path
) -> None:
    server = start_server(INFERENCE_THREADS="1")
    files = write_ct_series(phantom.voxels, phantom.spacing_mm, tmp_path / "ct", patient=PATIENT, seed="ups")
    study = str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
    with archive_peers.orthanc(tmp_path) as pacs:
        pacs.store(files)
        peer = ("peer", "add", f"ORTHANC@127.0.0.1:{pacs.port}", "--archive", pacs.url, "--quiet-time-s", "1")
        assert server.command(*peer).returncode == 0
        made = server.command("key", "add", "ris", "--peer", "ORTHANC")
        assert made.returncode == 0, made.stderr
        key = next(word for word in made.stdout.split() if word.startswith("rm_"))
        headers = {"authorization": f"Bearer {key}", "content-type": "application/dicom+json"}
        item = {
            "00741000": element("CS", "SCHEDULED"),
            "00741200": element("CS", "HIGH"),
            "00741204": element("LO", "Nodules of the lung"),
            "00404005": element("DT", "20261126"),
            "00404041": element("CS", "READY"),
            "00404018": element("SQ", code("lung_nodule_ct", "99RADMETER", "Nodules of the lung")),
            "00404021": element("SQ", {
                "0020000D": element("UI", study),
                "0040E025": element("SQ", {"00081190": element("UR", f"{pacs.url}/studies/{study}")}),
            }),
        }  # fmt: skip
        root = f"{server.url}/dicom-web"
        watched = httpx.post(
            f"{root}/workitems/1.2.840.10008.5.1.4.34.5/subscribers/ORTHANC", headers=headers, timeout=20
        )
        assert watched.status_code == 201, watched.text
        content = json.dumps([item])
        created = httpx.post(f"{root}/workitems?workitem={UID}", content=content, headers=headers, timeout=20)
        assert created.status_code == 201, created.text
        heard = []
        channel = watched.headers["content-location"]
        with connect(channel, additional_headers={"Authorization": headers["authorization"]}) as socket:
            while not heard or heard[-1] not in ("COMPLETED", "CANCELED"):
                said = json.loads(socket.recv(timeout=120))
                state = said.get("00741000", {}).get("Value")
                heard += state or [said["00741002"]["Value"][0]["00741004"]["Value"][0]]
        assert heard[:2] == ["SCHEDULED", "IN PROGRESS"]
        assert heard[-1] == "COMPLETED", heard
        percents = [float(one) for one in heard[2:-1]]
        assert percents == sorted(percents)
        assert {20, 40, 80, 90} <= set(percents)

        (done,) = httpx.get(f"{root}/workitems/{UID}", headers=headers, timeout=20).json()
        outputs = done["00741216"]["Value"][0]["00404033"]["Value"]
        named = {
            reference["00081155"]["Value"][0] for one in outputs for reference in one["00081199"]["Value"]
        }
        row = server.study(study)
        objects = server.rows("SELECT sop_instance_uid FROM result_object WHERE study_id = %s", row["id"])
        assert named == {one["sop_instance_uid"] for one in objects}
        assert len(named) >= 3
        kinds = server.rows("SELECT kind FROM billing.usage_event WHERE study_ref = %s", str(row["id"]))
        assert kinds == [{"kind": "result_delivered"}]

        # The same once more: it is done already, and nothing is charged again.
        content = json.dumps([item])
        again = httpx.post(f"{root}/workitems?workitem={UID}.1", content=content, headers=headers, timeout=20)
        assert again.status_code == 201
        server.wait(
            lambda: httpx.get(f"{root}/workitems/{UID}.1", headers=headers).json()[0]["00741000"]["Value"]
            == ["COMPLETED"],
            30, "the second is done with the first one's results",
        )  # fmt: skip
        assert len(server.rows("SELECT 1 FROM billing.usage_event")) == 1
    assert "MARKER" not in server.log_path.read_text().upper()
