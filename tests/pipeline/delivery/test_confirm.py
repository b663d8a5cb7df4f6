"""Confirmation: what was acknowledged is asked back, from archives that have it and such that have not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pydicom
import pytest

from dicom_gateway.peers import Peer
from dicom_gateway.service_errors import NoSuchSOPInstance
from dicom_gateway.storage_commitment import CommitmentResult, Reference
from pipeline.confirm_delivery import PAUSES_S, confirm_delivery, take_commitment_result
from tests.archive_peers import DICOMWEB_PLUGIN, RunningArchive, dcmqrscp, orthanc
from tests.pipeline.conftest import ALPHA
from tests.pipeline.delivery.conftest import KINDS, SR, Post, write_object
from tests.ports import free_port
from tests.scripted_pacs import ScriptedPacs

SR2D = "1.2.840.10008.5.1.4.1.1.88.33"


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, RunningArchive]]:
    with ExitStack() as stack:
        yield {
            "orthanc": stack.enter_context(orthanc(tmp_path_factory.mktemp("orthanc"))),
            "dcmqrscp": stack.enter_context(dcmqrscp(tmp_path_factory.mktemp("dcmqrscp"))),
        }


def confirm(post: Post, name: str, attempt: int = 0) -> None:
    confirm_delivery(post.clinic.services, ALPHA, str(post.study.id), name, attempt)


def identify(post: Post) -> None:
    """Archives file by patient, study and series."""
    for path in post.clinic.services.folders.results.glob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.PatientID, dataset.StudyID, dataset.StudyDate, dataset.StudyTime = (
            "P1",
            "1",
            "20260101",
            "1200",
        )
        dataset.AccessionNumber, dataset.SeriesNumber, dataset.InstanceNumber = "A1", 1, 1
        dataset.SeriesInstanceUID = f"1.2.5.{list(KINDS).index(path.stem)}"
        dataset.save_as(path, enforce_file_format=True)


@pytest.mark.peer
@pytest.mark.parametrize("kind", ["orthanc", "dcmqrscp", "stow"])
def test_delivered_to_a_real_archive_it_is_confirmed_by_query(
    post: Post, archives: dict[str, RunningArchive], kind: str
) -> None:
    identify(post)
    archive = archives["dcmqrscp" if kind == "dcmqrscp" else "orthanc"]
    where: dict[str, Any] = {"ae_title": archive.ae_title}
    if kind == "stow":
        if not DICOMWEB_PLUGIN.exists():
            pytest.skip("orthanc-dicomweb is not installed")
        where = {"kind": "stow", "url": archive.url, "allow_plain_http": True}
        where |= {"ae_title": None, "host": None}
    post.add("archive", archive.port if kind != "stow" else None, confirmation="query", **where)
    post.route_to("archive")
    post.start()
    post.run("archive")
    assert post.states("last_error") == {("archive", name): None for name in KINDS}
    assert post.row().status == "delivered"
    assert [row["args"]["destination"] for row in post.clinic.jobs("confirm")] == ["archive"]
    confirm(post, "archive")
    assert set(post.states().values()) == {"confirmed"}
    assert set(post.states("confirmed_by").values()) == {"query"}


class TestCommitment:
    def deliver(self, post: Post, pacs: ScriptedPacs) -> None:
        post.add("pacs", pacs.port, confirmation="commitment")
        post.route_to("pacs")
        post.start()
        post.run("pacs")
        assert post.row().status == "delivered"

    def result(self, post: Post, *, failed: int | None = None) -> CommitmentResult:
        row = post.clinic.rows("SELECT DISTINCT commitment_uid FROM delivery")[0]
        references = [
            Reference(sop_class, f"1.2.3.{number}") for number, sop_class in enumerate(KINDS.values(), 1)
        ]
        kept = tuple(one for one in references if failed is None or one.sop_class_uid != SR)
        lost = {} if failed is None else {references[0]: failed}
        return CommitmentResult(row["commitment_uid"], kept, lost)

    def take(self, post: Post, result: CommitmentResult, ae_title: str = "PACS") -> None:
        with post.clinic.database.transaction(ALPHA) as conn:
            take_commitment_result(conn, Peer(ALPHA, ae_title), result)

    def test_a_destination_without_the_service_leaves_it_acknowledged_and_is_asked_again(
        self, post: Post, pacs: ScriptedPacs
    ) -> None:
        self.deliver(post, pacs)
        confirm(post, "pacs")
        assert set(post.states().values()) == {"acknowledged"}
        assert [row["args"]["attempt"] for row in post.clinic.jobs("confirm")] == [0, 1]
        confirm(post, "pacs", len(PAUSES_S) - 1)
        assert all(str(one).startswith("not confirmed: ") for one in post.states("warning").values())
        assert len(post.clinic.jobs("confirm")) == 2
        assert post.row().status == "delivered"

    def test_the_answer_comes_on_an_association_of_the_destination(
        self, post: Post, pacs: ScriptedPacs
    ) -> None:
        self.deliver(post, pacs)
        confirm(post, "pacs")
        self.take(post, self.result(post))
        assert set(post.states().values()) == {"confirmed"}
        assert set(post.states("confirmed_by").values()) == {"storage commitment"}

    def test_what_it_does_not_keep_is_said_of_that_object_alone(self, post: Post, pacs: ScriptedPacs) -> None:
        self.deliver(post, pacs)
        confirm(post, "pacs")
        self.take(post, self.result(post, failed=0x0112))
        assert post.states() == {
            ("pacs", "SR"): "acknowledged", ("pacs", "SEG"): "confirmed", ("pacs", "PDF"): "confirmed",
        }  # fmt: skip
        assert post.states("warning")["pacs", "SR"] == "not confirmed: the peer does not have it"

    def test_a_plain_report_that_stands_in_is_confirmed_as_what_it_is(self, post: Post) -> None:
        write_object(post.clinic.services.folders.results / "SR2D.dcm", 4, SR2D)
        post.clinic.add_result_object(
            post.study, "1.2.3.4", is_delivered=False, kind="SR2D", location="SR2D.dcm"
        )
        with ScriptedPacs.listening(without=[SR]) as pacs:
            post.add("pacs", pacs.port, confirmation="commitment", object_kinds=("SR",), fallbacks=("SR2D",))
            post.route_to("pacs")
            post.start()
            for _ in range(4):
                post.run("pacs")
            assert post.row().status == "delivered"
            confirm(post, "pacs")
        row = post.clinic.rows("SELECT commitment_uid FROM delivery WHERE commitment_uid IS NOT NULL")[0]
        self.take(post, CommitmentResult(row["commitment_uid"], (Reference(SR2D, "1.2.3.4"),), {}))
        assert {state for state in post.states().items() if state[1]} == {
            (("pacs", "SR"), "replaced"),
            (("pacs", "SR2D"), "confirmed"),
        }

    def test_nobody_else_confirms_it(self, post: Post, pacs: ScriptedPacs) -> None:
        self.deliver(post, pacs)
        confirm(post, "pacs")
        result = self.result(post)
        with pytest.raises(NoSuchSOPInstance):
            self.take(post, result, "OTHER")
        with pytest.raises(NoSuchSOPInstance):
            self.take(post, CommitmentResult("1.2.3.4", result.committed, {}))
        assert set(post.states().values()) == {"acknowledged"}


def test_a_destination_that_is_away_when_asked_confirms_nothing(post: Post, pacs: ScriptedPacs) -> None:
    post.add("pacs", pacs.port, confirmation="query")
    post.route_to("pacs")
    post.start()
    post.run("pacs")
    post.add("pacs", free_port(), confirmation="query")
    confirm(post, "pacs")
    assert set(post.states().values()) == {"acknowledged"}


def test_without_confirmation_nobody_is_asked(post: Post, pacs: ScriptedPacs) -> None:
    post.add("pacs", pacs.port)
    post.route_to("pacs")
    post.start()
    post.run("pacs")
    assert post.clinic.jobs("confirm") == []
