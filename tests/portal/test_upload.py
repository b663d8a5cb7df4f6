"""The upload page: folders, files and ZIP archives, friendly and hostile."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from dicom_gateway.file_meta import part10_header
from dicom_gateway.instance_store import InstanceStore
from dicom_gateway.peers import Peer
from dicom_gateway.receive_files import FileReceiver, FileVerdict, receiving
from dicom_gateway.receive_zip import ZipLimits, receive_zip
from portal.context import Role
from tests.dicom_peers import MemorySink, ct_data_set
from tests.portal.live_portal import EXPLICIT, LivePortal, live_portal, part10
from tests.portal.portal_site import Site


@pytest.fixture
def person(site: Site) -> TestClient:
    site.owner.execute("INSERT INTO peer (tenant, ae_title, host, port) VALUES ('alpha', 'CDS', '', 104)")
    return site.signed_in("alpha", Role.OPERATOR)


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def counts(text: str) -> dict[str, int]:
    """What the result page says: words of a row → number."""
    found = re.findall(r'<th scope="row">(.*?)</th><td class="number">(\d+)</td>', text, re.S)
    return {" ".join(re.sub(r"<[^>]+>", " ", words).split()): int(number) for words, number in found}


def upload(client: TestClient, *files: tuple[str, bytes], source: str = "CDS") -> httpx.Response:
    return client.post("/upload", data={"source": source}, files=[("files", file) for file in files])


def test_a_cd_as_a_zip_is_stored_and_the_rest_is_counted(site: Site, person: TestClient) -> None:
    directory = part10_header("1.2.840.10008.1.3.10", "1.9", EXPLICIT, "X") + ct_data_set("1.9")
    cd = zipped({
        "DICOMDIR": directory,
        "IMAGES/1": part10("1.2.3.1"),
        "IMAGES/2": part10("1.2.3.2", study="1.2.4"),
        "IMAGES/2 again": part10("1.2.3.2", study="1.2.4"),
        "IMAGES/2 other": part10("1.2.3.2", ct_data_set("1.2.3.2", study="1.2.4")[:-1] + b"\0"),
        "IMAGES/deflated": part10("1.2.3.3", syntax="1.2.840.10008.1.2.1.99"),
        "viewer.exe": b"MZ" + bytes(1000),
        "AUTORUN.INF": b"",
        "nested.zip": zipped({"x": part10("1.2.3.9")}),
    })  # fmt: skip
    answer = upload(person, ("cd.zip", cd))
    assert answer.status_code == 200, answer.text
    said = counts(answer.text)
    assert said["stored"] == 2
    assert said["here already, the same"] == 1
    assert said["differ from what is here, kept aside"] == 1
    assert sum(number for words, number in said.items() if words.startswith("not DICOM")) == 3
    assert sum(number for words, number in said.items() if words.startswith("refused")) >= 1
    studies = site.owner.execute("SELECT id, ae_title FROM study").fetchall()
    assert {row["ae_title"] for row in studies} == {"CDS"}
    assert {f"/studies/{row['id']}" for row in studies} == set(
        re.findall(r'href="(/studies/[^"]+)"', answer.text)
    )
    left = [
        path
        for path in site.context.data_root.rglob("*")
        if path.is_file() and path.suffix not in {".dcm", ""}
    ]
    assert left == []


def test_files_and_folders_are_stored_whatever_their_names(site: Site, person: TestClient) -> None:
    answer = upload(
        person, ("../../../../tmp/evil.dcm", part10("1.2.3.1")), ("/etc/passwd", part10("1.2.3.2")),
        ("C:\\CD\\IM 3", part10("1.2.3.3")), ("影像.dcm", part10("1.2.3.4")), ("readme.txt", b"hello"),
    )  # fmt: skip
    assert counts(answer.text)["stored"] == 4
    names = [str(path) for path in site.context.data_root.rglob("*")]
    assert not any("evil" in name or "passwd" in name or "影像" in name for name in names)


def test_the_page_is_there_for_those_who_see_studies_and_in_their_language(
    site: Site, person: TestClient
) -> None:
    page = person.get("/upload")
    assert 'enctype="multipart/form-data"' in page.text
    assert page.text.index('name="source"') < page.text.index('name="files"')
    assert "<option>CDS</option>" in page.text
    site.owner.execute("INSERT INTO peer (tenant, ae_title, host, port) VALUES ('beta', 'CDB', '', 104)")
    chinese = site.signed_in("beta", Role.RADIOLOGIST).get("/upload").text
    assert "上传" in chinese
    assert "CDS" not in chinese
    assert site.signed_in("alpha", Role.FINANCE).post("/upload").status_code == 403
    assert site.client().post("/upload", data={"source": "CDS"}).status_code == 303


def test_an_upload_for_another_tenants_or_no_peer_and_from_another_site_is_refused(
    site: Site, person: TestClient
) -> None:
    site.owner.execute("INSERT INTO peer (tenant, ae_title, host, port) VALUES ('beta', 'CDB', '', 104)")
    assert upload(person, ("1", part10("1.2.3.1")), source="CDB").status_code == 403
    assert upload(person, ("1", part10("1.2.3.1")), source="").status_code == 403
    no_source = person.post("/upload", files=[("files", ("1", part10("1.2.3.1")))])
    assert no_source.status_code == 400
    assert person.post("/upload", content=b"x", headers={"Content-Type": "text/plain"}).status_code == 422
    foreign = person.post(
        "/upload", data={"source": "CDS"}, files=[("files", ("1", part10("1.2.3.1")))],
        headers={"Origin": "http://evil.test"},
    )  # fmt: skip
    assert foreign.status_code == 403
    assert site.owner.execute("SELECT 1 FROM instance").fetchall() == []


class TestHostileArchives:
    @pytest.fixture
    def take(self, tmp_path: Path) -> Iterator[object]:
        store, sink = InstanceStore(tmp_path), MemorySink()
        peer = Peer(tenant="clinic", ae_title="CDS")

        def take(archive: bytes, limits: ZipLimits | None = None) -> list[str]:
            """What was said of each file."""
            verdicts: list[FileVerdict] = []
            receiver = FileReceiver(peer, store, sink, 1, verdicts.append, size_bytes_max=1 << 30)
            with receiving(receiver, sink, 1, peer):
                receive_zip(io.BytesIO(archive), receiver, limits)
            assert list(tmp_path.rglob("*.part")) == []
            return [
                each.outcome.value if each.outcome else type(each.refusal).__name__
                for each in sorted(verdicts, key=lambda each: each.outcome is None)
            ]

        yield take
        store.close()

    def test_a_bomb_is_cut_off(self, take) -> None:
        bomb = part10("1.2.3.1", ct_data_set("1.2.3.1") + bytes(64 << 20))
        assert take(zipped({"bomb": bomb})) == ["ArchiveTooLarge"]
        # What is no DICOM file is not unpacked at all.
        assert take(zipped({"zeros": bytes(64 << 20)})) == ["FileUnreadable"]
        small = ZipLimits(bytes_max=6000)
        assert take(zipped({"1": part10("1.2.3.4"), "2": part10("1.2.3.5"), "3": part10("1.2.3.6")}), small) == [
            "stored", "stored", "ArchiveTooLarge",
        ]  # fmt: skip

    def test_too_many_files_and_too_large_a_directory_are_refused_before_anything_is_unpacked(
        self, take
    ) -> None:
        archive = zipped({str(number): b"" for number in range(200)})
        assert take(archive, ZipLimits(entries_max=100)) == ["ArchiveTooLarge"]
        assert take(archive, ZipLimits(directory_bytes_max=1000)) == ["ArchiveTooLarge"]

    def test_names_that_climb_are_only_names(self, take, tmp_path: Path) -> None:
        names = ["../../../evil", "/etc/evil", "C:\\evil", "a/../../evil", "evil\0x", "con", "." * 300]
        archive = zipped({name: part10(f"1.2.3.{number}") for number, name in enumerate(names, 1)})
        assert take(archive) == ["stored"] * len(names)
        assert list(tmp_path.parent.rglob("*evil*")) == []

    def test_damage_is_said_of_the_file_or_of_the_archive(self, take) -> None:
        whole = zipped({"1": part10("1.2.3.1"), "2": part10("1.2.3.2")}, zipfile.ZIP_STORED)
        flipped = bytearray(whole)
        flipped[300] ^= 0xFF
        assert take(bytes(flipped)) == ["stored", "ArchiveUnreadable"]
        for cut in (
            b"PK\x03\x04",
            whole[:200],
            whole[:-10],
            whole[: len(whole) // 2],
            b"PK\x05\x06" + bytes(18),
        ):
            assert set(take(cut)) <= {"ArchiveUnreadable"}
        encrypted = bytearray(whole)
        for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            encrypted[encrypted.index(signature) + offset] |= 1
        assert take(bytes(encrypted))[-1] == "ArchiveUnreadable"
        assert take(zipped({"1": part10("1.2.3.7")}, zipfile.ZIP_LZMA)) == ["ArchiveUnreadable"]


def test_an_upload_that_breaks_off_keeps_what_was_whole_and_says_so(site: Site, person: TestClient) -> None:
    with live_portal(site) as live:
        body = _form([part10("1.2.3.1"), part10("1.2.3.2")])
        answer = _post(live, person, body[:-2000])
        assert answer.status_code == 400
        assert "The upload broke off." in answer.text
        assert counts(answer.text)["stored"] == 1
        assert live.temporary_files() == []


def _form(files: list[bytes]) -> bytes:
    parts = [b'--b\r\nContent-Disposition: form-data; name="source"\r\n\r\nCDS\r\n']
    parts += [
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="x"\r\n\r\n' + content + b"\r\n"
        for content in files
    ]
    return b"".join(parts) + b"--b--\r\n"


def _post(live: LivePortal, person: TestClient, body: bytes) -> httpx.Response:
    cookie = f"radmeter_session={person.cookies['radmeter_session']}"
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Cookie": cookie, "Origin": live.url}
    return httpx.post(live.url + "/upload", content=body, headers=headers, timeout=60)
