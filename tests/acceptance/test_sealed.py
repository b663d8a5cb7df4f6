"""Sealing with real processes: from C-STORE to the report nothing plain lies durably; rotation, export, erasure."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest

from dicom_gateway.deliver_dimse import send_instances
from dicom_gateway.scu_association import Destination
from tests.acceptance.conftest import MakeStudy
from tests.acceptance.pacs import Pacs
from tests.server_process import RunningServer

pytestmark = pytest.mark.soak


@pytest.fixture
def pacs() -> Iterator[Pacs]:
    with Pacs.listening() as listening:
        yield listening


def command(server: RunningServer, *arguments: str | Path) -> str:
    done = server.command(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def plain_parts(paths: list[Path]) -> list[bytes]:
    """What of a study must not lie in the store: its patient, and pixels of each of its instances."""
    parts = []
    for path in paths:
        image = pydicom.dcmread(path)
        middle = len(image.PixelData) // 2
        parts += [
            str(image.PatientID).encode(),
            str(image.PatientName).encode(),
            image.StudyInstanceUID.encode(),
        ]
        parts.append(image.PixelData[middle : middle + 64])
    return sorted(set(parts))


def test_nothing_plain_lies_in_the_store_and_all_of_it_can_be_read_rotated_exported_and_erased(
    start_server: Callable[..., RunningServer], make_study: MakeStudy, pacs: Pacs, tmp_path: Path
) -> None:
    objects, key = tmp_path / "objects", tmp_path / "master.key"
    made = RunningServer.new()
    command(made, "keys", "init", key)
    made.remove()
    server = start_server(OBJECTS=f"file://{objects}", MASTER_KEYS=str(key))
    server.add_peer("PACS", pacs.port)
    study = make_study("sealed")
    destination = Destination("127.0.0.1", server.dicom_port, "RADMETER", "PACS")
    assert all(one.acknowledged for one in send_instances(study.files, destination))
    row = server.wait_for_end(study.study_instance_uid, 240)
    assert (row["status"], row["reason_code"]) == ("delivered", None), server.log_tail()

    # What lies durably, the database's own files aside.
    stored = [path for path in objects.rglob("*") if path.is_file() and ".incoming" not in path.parts]
    assert len([path for path in stored if "instances" in path.parts]) == len(study.files)
    assert {"report.json", "report.pdf"} <= {path.name for path in stored}
    parts = plain_parts(list(study.files))
    for path in stored:
        content = path.read_bytes()
        assert content.startswith(b"RADSEAL\x01"), path.name
        assert [part for part in parts if part in content] == [], path.name
    assert "0 missing or of another size" in command(server, "objects", "check")

    # A node that has none of it reads all of it, while keys are rotated.
    assert "data keys retired" in command(server, "keys", "rotate", "--data")
    for folder in (*server.data.glob("instances/??"), *server.data.glob("results/*")):
        shutil.rmtree(folder)
    address = f"/studies/{row['id']}"
    first = pydicom.dcmread(study.files[0])
    frame = (
        f"/dicom-web/studies/{first.StudyInstanceUID}/series/{first.SeriesInstanceUID}"
        f"/instances/{first.SOPInstanceUID}/frames/1"
    )
    with server.signed_in() as client:
        assert "not reviewed" in client.get(address).text
        assert client.get(f"{address}/report.pdf").content.startswith(b"%PDF")
        octets = {"Accept": "application/octet-stream; transfer-syntax=*"}
        assert client.get(frame, headers=octets).content == first.PixelData

    package = tmp_path / "default.zip"
    command(server, "export", "tenant", "default", "--to", package)
    assert "are as they were written" in command(server, "export", "check", package)
    with zipfile.ZipFile(package) as archive:
        images = [archive.read(name) for name in archive.namelist() if name.startswith("objects/instances/")]
    assert any(first.PixelData in image for image in images)

    found = re.search(r"--confirm (\w+)", command(server, "erase", "study", str(row["id"])))
    assert found
    command(server, "erase", "study", str(row["id"]), "--confirm", found.group(1), "--reason", "request 12")
    assert [path.parent.name for path in objects.rglob("*") if path.is_file()] == ["erasures"]
    with server.signed_in() as client:
        assert "This study was erased" in client.get(address).text
        assert client.get(frame, headers=octets).status_code == 404
    server.wait(
        lambda: not list((server.data / "instances").rglob("*.dcm")),
        150,
        "copies on the node are gone",
    )
    usage = server.rows("SELECT count(*) AS n FROM billing.usage_event")
    assert usage[0]["n"] > 0

    # The same images again are a new study, sealed with new keys.
    assert all(one.acknowledged for one in send_instances(study.files, destination))
    again = server.wait_for_end(study.study_instance_uid, 240)
    assert (again["status"], again["id"] != row["id"]) == ("delivered", True), server.log_tail()
    secret = key.read_bytes()
    for log in (server.log_path, server.output_path):
        assert secret not in log.read_bytes()
        assert secret.hex() not in log.read_text(errors="replace")
