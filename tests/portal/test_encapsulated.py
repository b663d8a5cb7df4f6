"""Documents inside of DICOM that would do something where they are opened (attack 25): kept, never opened."""

from __future__ import annotations

import io
import socket

import httpx
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from portal.auth import create_api_key
from portal.context import Role
from tests.dicom_peers import data_set_of
from tests.portal.live_portal import live_portal
from tests.portal.portal_site import PASSWORD, Site

PDF, CDA = "1.2.840.10008.5.1.4.1.1.104.1", "1.2.840.10008.5.1.4.1.1.104.2"


def encapsulated(sop_class: str, uid: str, mime_type: str, document: bytes) -> bytes:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = sop_class, uid
    made.StudyInstanceUID, made.SeriesInstanceUID, made.Modality = "1.2.25", "1.2.25.1", "DOC"
    made.PatientName, made.PatientID = "Document^Hostile", "D-1"
    made.MIMETypeOfEncapsulatedDocument = mime_type
    made.EncapsulatedDocument = document + b" " * (len(document) % 2)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    written = io.BytesIO()
    made.save_as(written, enforce_file_format=True)
    return written.getvalue()


def hostile(sop_class: str, target: str) -> bytes:
    """A document that asks for `target` and for a file of this machine, large enough to have an address of its own."""
    document = {
        CDA: f'<?xml version="1.0"?><?xml-stylesheet href="{target}"?><!DOCTYPE d [<!ENTITY e SYSTEM "{target}">'
        '<!ENTITY f SYSTEM "file:///etc/passwd">]><d xmlns:h="http://www.w3.org/1999/xhtml">&e;&f;'
        "<h:script>alert(1)</h:script></d>",
        PDF: f"%PDF-1.7\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.launchURL('{target}'))>>>>endobj\n%%EOF",
    }[sop_class]
    return document.encode().ljust(2000)


def test_documents_with_a_script_or_an_entity_are_kept_and_never_opened(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as victim, live_portal(site) as live:
        victim.settimeout(0.5)
        target = f"http://127.0.0.1:{victim.getsockname()[1]}/x"
        documents = {"1.2.25.1.1": hostile(CDA, target), "1.2.25.1.2": hostile(PDF, target)}
        sent = [
            encapsulated(CDA, "1.2.25.1.1", "text/xml", documents["1.2.25.1.1"]),
            encapsulated(PDF, "1.2.25.1.2", "application/pdf", documents["1.2.25.1.2"]),
        ]
        assert live.stow(sent).status_code == 200
        kept = {data_set_of(path) for path in live.stored_files()}
        assert len(kept) == 2
        assert all(any(content.endswith(one) for content in sent) for one in kept)

        with site.database.transaction("alpha") as conn:
            key = create_api_key(conn, "alpha", "reader")
        with httpx.Client(base_url=live.url, headers={"Authorization": f"Bearer {key}"}) as reader:
            for uid, document in documents.items():
                assert_never_opened(
                    reader, f"/dicom-web/studies/1.2.25/series/1.2.25.1/instances/{uid}", document
                )

        site.add_user("alpha", "anna", Role.ADMIN)
        with httpx.Client(base_url=live.url, headers={"Origin": live.url}) as person:
            person.post("/sign-in", data={"name": "anna", "password": PASSWORD})
            (study,) = person.get("/api/v1/studies").json()["studies"]
            page = person.get(f"/studies/{study['id']}")
        assert (page.status_code, "alert(1)" in page.text, "root:" in page.text) == (200, False, False)
        with pytest.raises(TimeoutError):
            victim.accept()


def assert_never_opened(reader: httpx.Client, address: str, document: bytes) -> None:
    """It comes as bytes for whoever asks for bytes, and never as what a browser would open."""
    (metadata,) = reader.get(f"{address}/metadata").json()
    assert metadata["00420011"].get("BulkDataURI", "").endswith("/bulkdata/00420011")
    assert reader.get(f"{address}/rendered").status_code == 404
    assert reader.get(f"{address}/thumbnail").status_code == 404
    for accept in ("*/*", "text/html", "application/pdf", "text/xml"):
        given = reader.get(f"{address}/bulkdata/00420011", headers={"Accept": accept})
        assert given.status_code == (200 if accept == "*/*" else 406), (accept, given.text)
        kind = given.headers["content-type"]
        assert not [word for word in ("html", "xml", "pdf") if word in kind], kind
        assert given.headers["x-content-type-options"] == "nosniff"
    assert document in reader.get(f"{address}/bulkdata/00420011").content
