"""STOW-RS against a real server: what is stored, what is said about each instance, and who may."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import httpx
import pydicom
import pytest
from pydicom.dataset import Dataset

from dicom_gateway.file_meta import read_file_meta
from portal.auth import create_api_key
from tests.dicom_peers import ct_data_set
from tests.portal.live_portal import BOUNDARY, EXPLICIT, STOW_TYPE, LivePortal, live_portal, multipart, part10
from tests.portal.portal_site import Site


@pytest.fixture
def live(site: Site) -> Iterator[LivePortal]:
    with live_portal(site) as portal:
        yield portal


def reasons(answer: httpx.Response, keyword: str = "FailedSOPSequence") -> list[int]:
    return [item.FailureReason for item in Dataset.from_json(answer.text).get(keyword, [])]


class TestStored:
    def test_all_stored_is_200_and_each_instance_is_named(self, live: LivePortal) -> None:
        uids = [f"1.2.3.4.{number}" for number in range(1, 101)]
        answer = live.stow([part10(uid) for uid in uids])
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom+json")
        said = Dataset.from_json(answer.text)
        assert [item.ReferencedSOPInstanceUID for item in said.ReferencedSOPSequence] == uids
        assert "FailedSOPSequence" not in said
        assert "RetrieveURL" not in said  # who stores does not read
        assert {row["sop_instance_uid"] for row in live.instances()} == set(uids)
        assert len(live.stored_files()) == 100
        assert live.temporary_files() == []

    def test_what_is_stored_counts_for_the_peer_of_the_key_like_a_c_store(self, live: LivePortal) -> None:
        assert live.stow([part10("1.2.3.4")]).status_code == 200
        study = live.site.owner.execute("SELECT tenant, ae_title, status FROM study").fetchone()
        assert study == {"tenant": "alpha", "ae_title": "CDS", "status": "receiving"}
        association = live.site.owner.execute("SELECT ae_title, how FROM association").fetchone()
        assert association == {"ae_title": "CDS", "how": "released"}
        jobs = live.site.owner.execute("SELECT task_name FROM procrastinate_jobs").fetchall()
        assert {"task_name": "assemble"} in jobs
        (path,) = live.stored_files()
        content = path.read_bytes()
        assert content[:128] == bytes(128)
        assert content.endswith(ct_data_set("1.2.3.4"))
        assert pydicom.dcmread(io.BytesIO(content)).file_meta.SourceApplicationEntityTitle == "CDS"

    def test_identical_bytes_again_are_a_success_and_other_bytes_a_failure_0111h(
        self, live: LivePortal
    ) -> None:
        assert live.stow([part10("1.2.3.4")]).status_code == 200
        assert live.stow([part10("1.2.3.4")]).status_code == 200
        other = live.stow([part10("1.2.3.4", ct_data_set("1.2.3.4")[:-1] + b"\0")])
        assert (other.status_code, reasons(other)) == (409, [0x0111])
        assert len(live.instances()) == 1
        assert len(live.site.owner.execute("SELECT 1 FROM quarantined_instance").fetchall()) == 1

    def test_other_bytes_are_a_warning_where_the_peer_wants_it(self, live: LivePortal) -> None:
        live.site.owner.execute("UPDATE peer SET duplicate_policy = 'warning'")
        assert live.stow([part10("1.2.3.4")]).status_code == 200
        other = live.stow([part10("1.2.3.4", ct_data_set("1.2.3.4")[:-1] + b"\0")])
        (item,) = Dataset.from_json(other.text).ReferencedSOPSequence
        assert (other.status_code, item.WarningReason) == (202, 0xB000)
        assert len(live.instances()) == 1

    def test_a_peer_stores_only_what_it_may_send(self, live: LivePortal) -> None:
        for column, value in (("modalities", "{MR}"), ("sop_classes", "{1.2.840.10008.5.1.4.1.1.4}")):
            live.site.owner.execute(f"UPDATE peer SET {column} = %s", (value,))
            answer = live.stow([part10("1.2.3.4")])
            assert (answer.status_code, reasons(answer)) == (409, [0x0124])
            live.site.owner.execute(f"UPDATE peer SET {column} = '{{}}'")
        assert live.instances() == []

    def test_some_stored_is_202_with_a_reason_for_each_other(self, live: LivePortal) -> None:
        answer = live.stow([
            part10("1.2.3.1"),
            part10("1.2.3.2", syntax="1.2.840.10008.1.2.1.99"),
            part10("1.2.3.3", ct_data_set("1.2.3.33")),
            part10("1.2.3.4", b"nothing that is a data set"),
            b"not DICOM at all",
            part10("1.2.3.5"),
        ])  # fmt: skip
        assert answer.status_code == 202
        said = Dataset.from_json(answer.text)
        stored = {item.ReferencedSOPInstanceUID for item in said.ReferencedSOPSequence}
        assert stored == {"1.2.3.1", "1.2.3.5"}
        failed = {item.ReferencedSOPInstanceUID: item.FailureReason for item in said.FailedSOPSequence}
        assert failed == {"1.2.3.2": 0xC122, "1.2.3.3": 0xA900, "1.2.3.4": 0xC000}
        assert [item.FailureReason for item in said.OtherFailuresSequence] == [0xC000]

    def test_only_instances_of_the_study_in_the_address_are_stored(self, live: LivePortal) -> None:
        answer = live.stow([part10("1.1", study="1.2.3"), part10("1.4", study="1.2.4")], study="1.2.3")
        assert (answer.status_code, reasons(answer)) == (202, [0xA900])
        assert live.stow([part10("1.5", study="1.2.4")], study="1.2.3").status_code == 409
        assert [row["sop_instance_uid"] for row in live.instances()] == ["1.1"]

    def test_one_instance_may_be_the_whole_body(self, live: LivePortal) -> None:
        assert live.post(part10("1.2.3.4"), content_type="application/dicom").status_code == 200
        assert live.post(b"", content_type="application/dicom").status_code == 409

    def test_the_answer_comes_as_xml_to_who_asks_for_it(self, live: LivePortal) -> None:
        answer = live.stow([part10("1.2.3.4"), b"x"], accept="application/dicom+xml")
        assert answer.headers["content-type"] == "application/dicom+xml"
        root = ElementTree.fromstring(answer.text)
        tags = {node.get("tag"): node.get("keyword") for node in root.iter("DicomAttribute")}
        assert tags["00081199"] == "ReferencedSOPSequence"
        assert tags["0008119A"] == "OtherFailuresSequence"
        values = [node.text for node in root.iter("Value")]
        assert values == ["1.2.840.10008.5.1.4.1.1.2", "1.2.3.4", str(0xC000)]
        assert live.stow([part10("1.2.3.4")], accept="text/html").status_code == 406

    def test_every_real_series_is_stored_bit_for_bit(self, live: LivePortal, shared_data: Path) -> None:
        paths = [
            path
            for path in sorted(shared_data.rglob("*"))
            if path.is_file() and "malformed_real" not in path.parts and path.read_bytes()[128:132] == b"DICM"
        ]
        assert len(paths) > 400
        uids = [read_file_meta(path).sop_instance_uid for path in paths]
        answers = [
            live.stow([path.read_bytes() for path in paths[start : start + 50]])
            for start in range(0, len(paths), 50)
        ]
        said = [Dataset.from_json(answer.text) for answer in answers]
        stored = {
            item.ReferencedSOPInstanceUID for each in said for item in each.get("ReferencedSOPSequence", [])
        }
        refused = {
            item.ReferencedSOPInstanceUID: item.FailureReason
            for each in said
            for item in each.get("FailedSOPSequence", [])
        }
        assert stored | set(refused) == set(uids)
        # A900H: anonymized elsewhere, so that group 0002 names another instance than the data set.
        assert set(refused.values()) <= {0x0111, 0x0122, 0xA900, 0xC122, 0xC000}, refused
        assert len(stored) > 400
        rows = {row["sop_instance_uid"]: row for row in live.instances()}
        for path, uid in list(zip(paths, uids, strict=True))[::40]:
            if uid in stored and uid not in refused:
                kept = live.root / rows[uid]["location"]
                assert kept.read_bytes().endswith(path.read_bytes()[-1000:])


class TestWho:
    def test_without_a_key_nothing_is_stored(self, live: LivePortal) -> None:
        for authorization in ("", "Basic Zm9v", "Bearer", "Bearer rm_00000000_x", "Bearer x"):
            answer = live.stow([part10("1.2.3.4")], authorization=authorization)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        assert live.instances() == []

    def test_a_key_without_a_peer_stores_nothing_and_one_with_a_peer_reads_nothing(
        self, live: LivePortal
    ) -> None:
        with live.site.database.transaction("alpha") as conn:
            reads = create_api_key(conn, "alpha", "reader")
        answer = live.stow([part10("1.2.3.4")], authorization=f"Bearer {reads}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "key_stores_nothing")
        for path in ("/api/v1/studies", "/api/v1/usage"):
            read = httpx.get(live.url + path, headers={"Authorization": f"Bearer {live.key}"})
            assert (read.status_code, read.json()["error"]["code"]) == (403, "key_only_stores")

    def test_a_peer_that_is_switched_off_and_a_key_that_is_revoked_store_nothing(
        self, live: LivePortal
    ) -> None:
        live.site.owner.execute("UPDATE peer SET enabled = false")
        assert live.stow([part10("1.2.3.4")]).json()["error"]["code"] == "peer_switched_off"
        live.site.owner.execute("UPDATE peer SET enabled = true")
        live.site.owner.execute("UPDATE api_key SET revoked_at = now()")
        assert live.stow([part10("1.2.3.4")]).status_code == 401

    def test_a_browser_on_another_site_stores_nothing(self, live: LivePortal) -> None:
        answer = live.stow([part10("1.2.3.4")], origin="http://evil.test")
        assert answer.status_code == 403
        assert live.instances() == []

    def test_a_refused_client_hears_why_although_it_is_still_sending(self, live: LivePortal) -> None:
        def endless() -> Iterator[bytes]:
            for _ in range(200):
                yield bytes(1 << 20)

        try:
            answer = live.post(endless(), authorization="Bearer x")
        except httpx.WriteError:
            pytest.fail("the connection broke before the answer")
        assert answer.status_code == 401


class TestMediaTypes:
    def test_only_multipart_related_dicom_is_taken(self, live: LivePortal) -> None:
        for media_type, status in (
            (STOW_TYPE, 200),
            (STOW_TYPE.replace('"', ""), 200),
            (STOW_TYPE.upper().replace(BOUNDARY.upper(), f'"{BOUNDARY}"'), 200),
            (f"multipart/related; boundary={BOUNDARY}", 200),
            ("multipart/related; type=application/dicom", 400),
            (f"multipart/related; type=application/dicom; boundary={BOUNDARY[:-1]}x", 400),
            (f'multipart/related; type="application/dicom+json"; boundary={BOUNDARY}', 415),
            (f"multipart/form-data; boundary={BOUNDARY}", 415),
            ("application/json", 415),
            ("", 415),
        ):
            answer = live.stow([part10("1.2.3.4")], content_type=media_type)
            assert answer.status_code == status, (media_type, answer.text)

    def test_metadata_with_bulk_data_is_refused_with_its_reason(self, live: LivePortal) -> None:
        answer = live.stow(
            [b"[]"], content_type='multipart/related; type="application/dicom+json"; boundary=b'
        )
        assert "metadata with bulk data apart is not taken" in answer.json()["error"]["message"]
        assert live.stow([part10("1.2.3.4")], content_encoding="gzip").status_code == 415

    def test_parts_of_another_type_or_syntax_than_they_say_are_refused_alone(self, live: LivePortal) -> None:
        body = multipart([part10("1.2.3.1")], "image/jpeg")[: -len(BOUNDARY) - 6] + b"\r\n"
        body += multipart([part10("1.2.3.2")], f"application/dicom; transfer-syntax={EXPLICIT}")
        answer = live.post(body)
        assert (answer.status_code, reasons(answer, "OtherFailuresSequence")) == (202, [0xC000])
        wrong = live.post(
            multipart([part10("1.2.3.3")], "application/dicom; transfer-syntax=1.2.840.10008.1.2")
        )
        assert (wrong.status_code, reasons(wrong)) == (409, [0xC122])

    def test_a_study_in_the_address_that_is_no_uid_is_refused(self, live: LivePortal) -> None:
        assert live.stow([part10("1.2.3.4")], study="..%2F..%2Fetc").status_code in {404, 422}
        assert live.stow([part10("1.2.3.4")], study="abc").status_code == 422


def test_eight_clients_store_the_same_and_different_studies_at_once(live: LivePortal) -> None:
    """More than are taken at a time: the others are told to come back, and do."""
    busy = threading.Event()

    def send(number: int) -> None:
        files = [part10(f"1.2.{number % 4}.{place}", study=f"1.9.{number % 4}") for place in range(40)]
        while (answer := live.stow(files)).status_code == 503:
            assert int(answer.headers["retry-after"]) > 0
            busy.set()
        assert answer.status_code == 200, answer.text

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(8), timeout=60))
    assert len(live.instances()) == 160
    assert len(live.stored_files()) == 160
    assert json.loads(live.stow([part10("1.2.0.1", study="1.9.0")]).text)
