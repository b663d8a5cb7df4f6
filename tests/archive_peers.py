"""Real archives to ask: Orthanc with its DICOMweb plugin, DCMTK's dcmqrscp; studies to put into them."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset

from dicom_gateway.deliver_dimse import send_instances
from dicom_gateway.scu_association import Destination
from tests.ports import free_port

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
GDCM_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancGdcm.so")
OUR_AE_TITLE = "RADMETER"


def wait_for_port(port: int, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError("nobody listens")


@dataclass(frozen=True)
class RunningArchive:
    """An archive in a process of its own. http_port: 0 without one. move_port: where it sends what we move."""

    ae_title: str
    port: int
    move_port: int
    http_port: int = 0

    @property
    def destination(self) -> Destination:
        return Destination("127.0.0.1", self.port, self.ae_title, OUR_AE_TITLE)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    def store(self, paths: Sequence[Path]) -> None:
        outcomes = send_instances(paths, self.destination)
        assert [outcome.error for outcome in outcomes if not outcome.acknowledged] == []

    def push(self, study_instance_uid: str) -> None:
        """Orthanc sends a study of its own accord to where it moves; returns when it is sent."""
        root = f"http://127.0.0.1:{self.http_port}"
        with httpx.Client(base_url=root, timeout=120) as client:
            found = client.post("/tools/lookup", content=study_instance_uid).json()
            (study,) = [one["ID"] for one in found if one["Type"] == "Study"]
            client.post("/modalities/gateway/store", content=study).raise_for_status()


@contextmanager
def orthanc(
    folder: Path,
    moves_to: str = OUR_AE_TITLE,
    plugins: Sequence[Path] = (DICOMWEB_PLUGIN,),
    more: Mapping[str, object] | None = None,
) -> Iterator[RunningArchive]:
    """Orthanc, which answers everything and moves to one AE title; with those plugins that are installed.

    more: settings beside ours, or in their place.
    """
    archive = RunningArchive("ORTHANC", free_port(), free_port(), free_port())
    settings = {
        "Name": "ORTHANC", "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"),
        "Plugins": [str(plugin) for plugin in plugins if plugin.exists()],
        "HttpPort": archive.http_port, "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
        "DicomAet": "ORTHANC", "DicomPort": archive.port, "DicomAlwaysAllowEcho": True,
        "DicomAlwaysAllowStore": True, "DicomAlwaysAllowFind": True, "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True, "SynchronousCMove": True, "DicomScuTimeout": 10,
        "DicomModalities": {"gateway": [moves_to, "127.0.0.1", archive.move_port]},
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False, "Ssl": False},
    }  # fmt: skip
    path = folder / "orthanc.json"
    path.write_text(json.dumps(settings | dict(more or {})))
    with _process(["Orthanc", str(path)], archive.port):
        wait_for_port(archive.http_port)
        yield archive


@contextmanager
def dcmqrscp(folder: Path) -> Iterator[RunningArchive]:
    """DCMTK's archive, which moves to RADMETER and counts nothing."""
    archive = RunningArchive("DCMQR", free_port(), free_port())
    storage = folder / "DCMQR"
    storage.mkdir()
    path = folder / "dcmqrscp.cfg"
    path.write_text(
        f"""NetworkTCPPort = {archive.port}
MaxPDUSize = 131072
MaxAssociations = 16
HostTable BEGIN
gateway = ({OUR_AE_TITLE}, 127.0.0.1, {archive.move_port})
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
DCMQR {storage} RW (500, 1024mb) ANY
AETable END
"""
    )
    with _process(["dcmqrscp", "-c", str(path)], archive.port):
        yield archive


@contextmanager
def _process(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        yield
    finally:
        process.kill()  # what it stored goes with its folder
        process.wait(timeout=20)


def write_study(
    folder: Path, study: str, series: Sequence[int] = (3, 2), syntax: str = EXPLICIT, **attributes: str
) -> list[Path]:
    """A study on disk with so many instances in each series; `attributes` by keyword."""
    paths = []
    for number, count in enumerate(series, 1):
        for instance in range(1, count + 1):
            dataset = Dataset()
            dataset.file_meta = FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
            dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CT
            dataset.SOPInstanceUID = f"{study}.{number}.{instance}"
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, f"{study}.{number}"
            dataset.Modality, dataset.StudyDate, dataset.InstanceNumber = "CT", "20260102", str(instance)
            dataset.PatientID, dataset.PatientName, dataset.PatientBirthDate = "P1", "Nobody^Test", "19700101"
            dataset.StudyID, dataset.SeriesNumber, dataset.AccessionNumber = "1", str(number), ""
            dataset.StudyTime, dataset.ReferringPhysicianName, dataset.PatientSex = "120000", "", "O"
            dataset.Rows = dataset.Columns = 16
            dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
            dataset.BitsAllocated = dataset.BitsStored = 16
            dataset.HighBit, dataset.PixelRepresentation = 15, 0
            for keyword, value in attributes.items():
                setattr(dataset, keyword, value)
            dataset.PixelData = bytes(range(256)) * 2
            paths.append(folder / f"{dataset.SOPInstanceUID}.dcm")
            dataset.save_as(paths[-1], enforce_file_format=True)
    return paths


def files_of(tmp_path: Path) -> list[Path]:
    """Everything in the store of a retrieval: `store` below the folder of a test."""
    return [path for path in (tmp_path / "store").rglob("*") if path.is_file() and path.name != "lock"]
