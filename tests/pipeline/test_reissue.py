"""What follows from a finished review: a reviewed report, an outcome for billing, the concordance of the model."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from billing.contracts import store as billing_store
from billing.statements import statement
from dicom_gateway.encode_review import encode_reviewed_sr
from dicom_gateway.stored_instance import data_set_digest
from pipeline import health_round
from pipeline.guidelines.of_findings import GuidelineNote, GuidelineRead
from pipeline.guidelines.registry import GUIDELINES
from pipeline.report_file import load_report, save_report
from pipeline.services import Folders
from storage.folder_store import FolderStore
from storage.remote_objects import RemoteObjects
from study.review import ReviewState
from tests.pipeline.conftest import ALPHA, Clinic
from tests.pipeline.review_desk import AT, Desk
from tests.review_seed import seed_result

CONTRACT = """
contract: effect
seller: {id: vendor, name: Vendor}
buyer: {id: hospital, name: Hospital}
currency: CNY
time_zone: Asia/Shanghai
effective_from: 2026-01-01
tax: {name: VAT, rate: 0}
rates:
  - product: lung_nodule_ct
    title: {en: CT, zh: CT}
    unit: {en: case, zh: 例}
    price: {model: per_unit, unit_price: 100}
outcome: {products: [lung_nodule_ct], window_days: 14, at_delivery: 0.2, none: 0.5}
"""


@pytest.fixture
def desk(clinic: Clinic, tmp_path: Path) -> Desk:
    return Desk(clinic, seed_result(clinic.owner, tmp_path, ALPHA), tmp_path)


def test_the_reviewed_report_goes_where_the_result_went_once_and_is_never_charged(desk: Desk) -> None:
    desk.say(1, "accept")
    desk.say(2, "reject")
    desk.miss(size_mm=6.0)
    desk.finish()
    charged = len(desk.clinic.rows("SELECT 1 FROM billing.usage_event WHERE kind = 'result_delivered'"))
    desk.issue()
    desk.issue()
    made = desk.clinic.rows(
        """SELECT o.kind, o.location, d.destination, d.required FROM result_object o
           JOIN delivery d USING (tenant, sop_instance_uid) WHERE o.review = 1 ORDER BY o.kind"""
    )
    assert [(row["kind"], row["destination"], row["required"]) for row in made] == [
        ("PDF", "PACS", False), ("SR", "PACS", False),
    ]  # fmt: skip
    document = pydicom.dcmread(desk.root / "results" / made[1]["location"])
    [predecessor] = document.PredecessorDocumentsSequence
    replaced = predecessor.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert replaced == desk.seeded.sop_instance_uid
    pdf = pydicom.dcmread(desk.root / "results" / made[0]["location"])
    assert bytes(pdf.EncapsulatedDocument[:5]) == b"%PDF-"
    assert len(desk.clinic.jobs("deliver")) == 1
    events = desk.clinic.rows("SELECT 1 FROM billing.usage_event WHERE kind = 'result_delivered'")
    assert len(events) == charged == 1


def test_a_second_review_replaces_the_first_before_it_has_left(desk: Desk) -> None:
    for number in (1, 2):
        desk.say(number, "accept")
    desk.finish()
    desk.issue()
    desk.say(2, "reject")
    desk.finish(at=AT + timedelta(hours=1))
    desk.issue()
    waiting = desk.clinic.rows(
        """SELECT o.review FROM delivery d JOIN result_object o USING (tenant, sop_instance_uid)
           WHERE d.state = 'waiting' ORDER BY o.kind"""
    )
    assert [row["review"] for row in waiting] == [2, 2]


def test_the_work_list_says_what_the_newest_review_came_to(desk: Desk) -> None:
    """The model's 4B was a finding that the reader rejects first and lets stand in the end."""
    folder = desk.root / "results" / desk.seeded.study_id / "1"
    view = load_report(folder)
    notes = (GuidelineNote(1, "4B", "", ""), GuidelineNote(2, "3", "", ""))
    read = GuidelineRead(GUIDELINES["lung_rads_2022"].title, "source", "4B", notes)
    rows = tuple(
        replace(row, kind="solid", mean_diameter_mm=size, pleura_distance_mm=8.0, category=note.category)
        for row, size, note in zip(view.findings, (20.0, 7.0), notes, strict=True)
    )
    view = replace(view, patient_age="061Y", findings=rows, guideline=read)
    save_report(folder, view, b"%PDF-1.7 model")
    desk.clinic.owner.execute("UPDATE tenant SET guideline_setting = 'screening'")

    def listed() -> tuple[str, list[str]]:
        [row] = desk.clinic.rows("SELECT worst_category, critical, review_state FROM study")
        assert row["review_state"] == "reviewed"
        return row["worst_category"], row["critical"]

    desk.say(1, "reject")
    desk.say(2, "accept")
    desk.finish()
    desk.issue()
    assert listed() == ("3", [])
    desk.say(1, "accept")
    desk.finish(at=AT + timedelta(hours=1))
    desk.issue()
    assert listed() == ("4B", ["lung_rads_4b"])


def test_files_that_are_gone_leave_a_line_on_the_timeline(desk: Desk) -> None:
    for number in (1, 2):
        desk.say(number, "accept")
    desk.finish()
    for path in (desk.root / "results" / desk.seeded.study_id).rglob("*.sr.dcm"):
        path.unlink()
    desk.issue()
    events = [row["event"] for row in desk.clinic.rows("SELECT event FROM study_event ORDER BY id")]
    assert events == ["review_finished", "review_not_issued"]


def test_a_reviewed_set_that_breaks_a_rule_is_not_sent_and_the_review_stays(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mixed_up(*arguments: Any) -> Dataset:
        document = encode_reviewed_sr(*arguments)
        document.PatientID = "P-of-another"
        return document

    monkeypatch.setattr("pipeline.reissue.encode_reviewed_sr", mixed_up)
    for number in (1, 2):
        desk.say(number, "accept")
    desk.finish()
    desk.issue()
    [event] = desk.clinic.rows("SELECT detail FROM study_event WHERE event = 'review_not_issued'")
    assert event["detail"]["code"] == "RESULT_NOT_CONFORMANT"
    assert "SR: PatientID is not that of the source" in event["detail"]["reason"]
    assert desk.clinic.rows("SELECT 1 FROM result_object WHERE review > 0 OR kind = 'EVENT'") == []
    assert desk.clinic.rows("SELECT 1 FROM delivery WHERE state = 'waiting'") == []
    assert desk.clinic.jobs("deliver") == []
    assert list((desk.root / "results").rglob("review-*")) == []
    assert desk.books().review.state is ReviewState.REVIEWED


def test_images_that_are_gone_or_were_never_ours_keep_a_reviewed_report_back(desk: Desk) -> None:
    for number in (1, 2):
        desk.say(number, "accept")
    desk.finish()
    for path in (desk.root / "instances").rglob("*.dcm"):
        path.unlink()
    desk.issue()
    [event] = desk.clinic.rows("SELECT detail FROM study_event WHERE event = 'review_not_issued'")
    assert event["detail"]["code"] == "RESULT_NOT_ENCODED"
    assert desk.clinic.rows("SELECT 1 FROM result_object WHERE review > 0") == []


def test_where_the_site_verifies_what_leaves_is_verified(desk: Desk) -> None:
    desk.clinic.owner.execute("UPDATE tenant SET review_verifies = true WHERE tenant = %s", (ALPHA,))
    for number in (1, 2):
        desk.say(number, "accept")
    desk.finish()
    desk.issue()
    [made] = desk.clinic.rows("SELECT location FROM result_object WHERE review = 1 AND kind = 'SR'")
    document = pydicom.dcmread(desk.root / "results" / made["location"])
    assert document.VerificationFlag == "VERIFIED"
    [observer] = document.VerifyingObserverSequence
    assert str(observer.VerifyingObserverName).rstrip("^") == "dr chen"


def test_the_outcome_decides_what_the_case_costs_and_a_change_of_mind_changes_it(
    clinic: Clinic, tmp_path: Path
) -> None:
    with clinic.database.transaction(ALPHA) as conn:
        contract = billing_store.add_contract(conn, ALPHA, CONTRACT)
    desk = Desk(clinic, seed_result(clinic.owner, tmp_path, ALPHA), tmp_path)

    def november() -> int:
        with clinic.database.transaction(ALPHA) as conn:
            draft = statement.draft(conn, ALPHA, contract, datetime(2026, 11, 20, tzinfo=UTC))
        return sum(line.rated.amount.amount_minor for line in draft.lines)

    assert november() == 2000  # at delivery
    desk.say(1, "accept")
    desk.say(2, "reject")
    assert november() == 2000  # not finished, so nothing is said
    desk.finish()
    assert desk.outcomes() == [("accepted", "outcome")]
    assert november() == 10000
    desk.miss()
    desk.finish(at=AT + timedelta(hours=1))
    assert desk.outcomes() == [("accepted", "voided"), ("rejected", "outcome")]
    assert november() == 0


def test_who_is_paid_for_the_result_reviews_it_and_decides_about_no_money(
    clinic: Clinic, tmp_path: Path
) -> None:
    with clinic.database.transaction(ALPHA) as conn:
        billing_store.add_contract(conn, ALPHA, CONTRACT)
    desk = Desk(clinic, seed_result(clinic.owner, tmp_path, ALPHA, sizes_mm=()), tmp_path)
    assert desk.finish(party="vendor").review.state is ReviewState.REVIEWED
    assert desk.outcomes() == []
    [event] = clinic.rows("SELECT detail FROM study_event WHERE event = 'review_finished'")
    assert "paid for the result" in event["detail"]["outcome"]


@pytest.mark.parametrize(
    ("kinds", "missed", "expected"),
    [
        (("accept", "reject"), False, "accepted"),
        (("edit", "reject"), False, "accepted"),
        (("reject", "reject"), False, "rejected"),
        (("reject", "unsure"), False, None),
        (("accept", "accept"), True, "rejected"),
    ],
)
def test_a_result_is_accepted_when_its_conclusion_stands(
    desk: Desk, kinds: tuple[str, str], missed: bool, expected: str | None
) -> None:
    for number, kind in enumerate(kinds, start=1):
        desk.say(number, kind, size_mm=5.0) if kind == "edit" else desk.say(number, kind)
    if missed:
        desk.miss()
    desk.finish()
    assert [verdict for verdict, _ in desk.outcomes()] == ([expected] if expected else [])


def test_concordance_of_the_model_at_the_site_follows(desk: Desk) -> None:
    for number in (1, 2):
        desk.say(number, "accept")
    desk.finish()
    assert len(desk.clinic.jobs("look_at_models")) == 1
    health_round.look_at_models(desk.clinic.database, ALPHA, now=AT + timedelta(minutes=1))
    counted = desk.clinic.rows("SELECT value, count FROM model_health_day WHERE dimension = 'verdict'")
    assert [(row["value"], row["count"]) for row in counted] == [("accepted", 1)]


def test_a_worker_on_another_node_issues_what_it_never_had(desk: Desk, tmp_path: Path) -> None:
    kept = FolderStore(tmp_path / "store")
    for path in sorted((desk.root / "instances").rglob("*.dcm")):
        location = path.relative_to(desk.root / "instances").as_posix()
        kept.put(f"instances/{location}", path, "")
        digest = data_set_digest(path)
        desk.clinic.owner.execute("UPDATE instance SET blake3 = %s WHERE location = %s", (digest, location))
    for path in sorted((desk.root / "results").rglob("*.*")):
        kept.put(path.relative_to(desk.root).as_posix(), path, "")
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        location = path.relative_to(desk.root / "results").as_posix()
        desk.clinic.owner.execute(
            "UPDATE result_object SET sha256 = %s WHERE location = %s", (sha256, location)
        )
    node = tmp_path / "node"
    node.mkdir()
    folders = Folders(
        node / "instances", node / "work", node / "results",
        objects=RemoteObjects(node, kept, cache_bytes_max=1 << 30),
    )  # fmt: skip
    desk.clinic.services = replace(desk.clinic.services, folders=folders)
    for number in (1, 2):
        desk.say(number, "accept")
    desk.finish()
    desk.issue()
    made = desk.clinic.rows("SELECT kind, location, sha256 FROM result_object WHERE review = 1 ORDER BY kind")
    assert [row["kind"] for row in made] == ["PDF", "SR"]
    for row in made:
        written = tmp_path / "store" / "results" / row["location"]
        assert hashlib.sha256(written.read_bytes()).hexdigest() == row["sha256"]
