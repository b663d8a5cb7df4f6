"""A listening portal whose store holds images in many transfer syntaxes, and a DICOMweb client that reads them."""

from __future__ import annotations

import contextlib
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pydicom
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset
from requests import Session

from portal.auth import create_api_key
from tests.portal.live_portal import LivePortal, live_portal
from tests.portal.portal_site import Site

FOLDERS = ("basic", "ct_enhanced_multiframe", "mr_enhanced", "pm", "seg", "sr", "ts_ct", "ts_mr", "us")
FILES = (
    "cxr/RG1_J2KI",
    "rt/rtdose.dcm",
    "ct_chest_lidc0314_1mm/dicom/0100.dcm",
    "ct_chest_4dlung_113/dicom/0050.dcm",
    "charsets/Lena-greek.dcm",
)
JLS = "ct_chest_lidc0314_1mm/dicom/0100.dcm"
# Deflated frames are not taken in.
LEFT_OUT = ("liver_deflate.dcm",)


@dataclass
class Archive:
    """portal: where it is read. sources: name of a file → its data set as it was sent. keys: tenant → reading key."""

    portal: LivePortal
    sources: dict[str, Dataset]
    keys: dict[str, str]

    def client(self, tenant: str = "alpha") -> DICOMwebClient:
        session = Session()
        session.headers["Authorization"] = f"Bearer {self.keys[tenant]}"
        client = DICOMwebClient(f"{self.portal.url}/dicom-web", session=session)
        client.host = f"127.0.0.1:{self.portal.port}"  # it leaves out the port
        return client

    def get(self, path: str, tenant: str = "alpha", **headers: str) -> httpx.Response:
        sent = {"authorization": f"Bearer {self.keys[tenant]}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.get(f"{self.portal.url}/dicom-web{path}", headers=sent, timeout=60, verify=False)

    def address(self, name: str) -> str:
        study, series, instance = self.ids(name)
        return f"/studies/{study}/series/{series}/instances/{instance}"

    def ids(self, name: str) -> tuple[str, str, str]:
        """Study, Series and SOP Instance UID of a source."""
        source = self.sources[name]
        return source.StudyInstanceUID, source.SeriesInstanceUID, source.SOPInstanceUID


@contextlib.contextmanager
def open_archive(site: Site, data: Path) -> Iterator[Archive]:
    with live_portal(site) as portal:
        keys = {}
        for tenant in ("alpha", "beta"):
            with site.database.transaction(tenant) as conn:
                keys[tenant] = create_api_key(conn, tenant, "reader")
        sources = {str(path.relative_to(data)): source for path, source in read_sources(data)}
        answer = portal.stow([encoded(source) for source in sources.values()])
        assert answer.status_code == 200, answer.text
        yield Archive(portal, sources, keys)


def read_sources(data: Path) -> Iterator[tuple[Path, Dataset]]:
    """Each with UIDs of its own: one folder is one study, one file one series, for several are the same image."""
    paths = [path for folder in FOLDERS for path in sorted((data / folder).iterdir())]
    for number, path in enumerate([*paths, *(data / name for name in FILES)], start=1):
        if path.name in LEFT_OUT or path.suffix not in (".dcm", ""):
            continue
        source = pydicom.dcmread(path)
        source.StudyInstanceUID = f"2.25.7.{zlib.crc32(str(path.parent.relative_to(data)).encode())}"
        source.SeriesInstanceUID = f"2.25.8.{number}"
        source.SOPInstanceUID = source.file_meta.MediaStorageSOPInstanceUID = f"2.25.9.{number}"
        yield path, source


def encoded(source: Dataset) -> bytes:
    written = io.BytesIO()
    source.save_as(written, enforce_file_format=True)
    return written.getvalue()
