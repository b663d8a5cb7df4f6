"""Performed procedure steps by a modality (pynetdicom) over the wire into the database (PS3.4 annex F)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import ModalityPerformedProcedureStep

from tests.pipeline.conftest import Clinic
from tests.pipeline.services import running_gateway

STUDY, STEP = "1.2.840.1.1", "1.2.840.1.9"


def begin(**changes: Any) -> Dataset:
    """What a modality sends when it begins."""
    scheduled = Dataset()
    scheduled.StudyInstanceUID = STUDY
    scheduled.AccessionNumber = "A1"
    step = Dataset()
    step.ScheduledStepAttributesSequence = [scheduled]
    step.PerformedProcedureStepStatus = "IN PROGRESS"
    step.PerformedStationAETitle = "PACS"
    step.PatientName = "Nobody^Test"
    step.PerformedSeriesSequence = []
    for name, value in changes.items():
        setattr(step, name, value)
    return step


def series(uid: str, *instances: str, others: tuple[str, ...] = ()) -> Dataset:
    def reference(instance: str) -> Dataset:
        item = Dataset()
        item.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        item.ReferencedSOPInstanceUID = instance
        return item

    item = Dataset()
    item.SeriesInstanceUID = uid
    item.PerformingPhysicianName = "Nobody"
    item.ReferencedImageSequence = [reference(one) for one in instances]
    item.ReferencedNonImageCompositeSOPInstanceSequence = [reference(one) for one in others]
    return item


def change(status: str | None = None, *performed: Dataset) -> Dataset:
    step = Dataset()
    if status is not None:
        step.PerformedProcedureStepStatus = status
    if performed:
        step.PerformedSeriesSequence = list(performed)
    return step


class Modality:
    """A pynetdicom SCU on one association."""

    def __init__(self, port: int, syntax: str, ae_title: str = "PACS", called: str = "ALPHA") -> None:
        context = build_context(ModalityPerformedProcedureStep, syntax)
        self.link = AE(ae_title=ae_title).associate("127.0.0.1", port, contexts=[context], ae_title=called)
        assert self.link.is_established

    def create(self, step: Dataset, uid: str | None = STEP) -> Any:
        status, _ = self.link.send_n_create(step, ModalityPerformedProcedureStep, uid)
        return status

    def set(self, step: Dataset, uid: str = STEP) -> Any:
        status, _ = self.link.send_n_set(step, ModalityPerformedProcedureStep, uid)
        return status


@pytest.fixture
def port(clinic: Clinic) -> Iterator[int]:
    with running_gateway(clinic) as port:
        yield port


@pytest.fixture(params=[ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def modality(port: int, request: pytest.FixtureRequest) -> Iterator[Modality]:
    one = Modality(port, request.param)
    yield one
    one.link.release()


def test_a_step_from_its_begin_to_its_end(clinic: Clinic, modality: Modality) -> None:
    assert modality.create(begin()).Status == 0
    (row,) = clinic.rows("SELECT * FROM performed_procedure_step")
    assert (row["tenant"], row["ae_title"], row["sop_instance_uid"]) == ("alpha", "PACS", STEP)
    assert (row["study_instance_uid"], row["status"], row["series"]) == (STUDY, "IN PROGRESS", [])
    assert modality.set(change(None, series("1.2.7", "1.2.7.1"))).Status == 0
    assert modality.set(change("IN PROGRESS")).Status == 0
    done = change("COMPLETED", series("1.2.7", "1.2.7.1", "1.2.7.2"), series("1.2.8", others=("1.2.8.1",)))
    assert modality.set(done).Status == 0
    (row,) = clinic.rows("SELECT * FROM performed_procedure_step")
    assert row["status"] == "COMPLETED"
    assert row["series"] == [
        {"series_instance_uid": "1.2.7", "sop_instance_uids": ["1.2.7.1", "1.2.7.2"]},
        {"series_instance_uid": "1.2.8", "sop_instance_uids": ["1.2.8.1"]},
    ]
    assert row["updated_at"] > row["created_at"]


@pytest.mark.parametrize("end", ["COMPLETED", "DISCONTINUED"])
def test_a_final_step_may_no_longer_be_updated(clinic: Clinic, modality: Modality, end: str) -> None:
    modality.create(begin())
    assert modality.set(change(end, series("1.2.7", "1.2.7.1"))).Status == 0
    for attempt in (change("IN PROGRESS"), change("COMPLETED"), change(None, series("1.2.9"))):
        refusal = modality.set(attempt)
        assert (refusal.Status, refusal.ErrorID) == (0x0110, 0xA710)
    (row,) = clinic.rows("SELECT status, series FROM performed_procedure_step")
    assert (row["status"], row["series"][0]["series_instance_uid"]) == (end, "1.2.7")


def test_what_is_wrong_has_its_status_and_is_not_recorded(clinic: Clinic, modality: Modality) -> None:
    assert modality.set(change("COMPLETED")).Status == 0x0112
    assert modality.create(begin(PerformedProcedureStepStatus="COMPLETED")).Status == 0x0106
    assert modality.create(begin(PerformedProcedureStepStatus="")).Status == 0x0120
    assert modality.create(begin(ScheduledStepAttributesSequence=[])).Status == 0x0120
    assert modality.create(begin(PerformedSeriesSequence=[series("../etc")])).Status == 0x0106
    assert clinic.rows("SELECT 1 FROM performed_procedure_step") == []
    assert modality.create(begin()).Status == 0
    assert modality.create(begin()).Status == 0x0111
    assert modality.set(change("DONE")).Status == 0x0106
    assert [row["status"] for row in clinic.rows("SELECT status FROM performed_procedure_step")] == [
        "IN PROGRESS"
    ]


def test_a_step_without_a_uid_is_given_one(clinic: Clinic, modality: Modality) -> None:
    answers: list[Dataset] = []
    modality.link.bind(evt.EVT_DIMSE_RECV, lambda event: answers.append(event.message.command_set))
    assert modality.create(begin(), None).Status == 0
    (row,) = clinic.rows("SELECT sop_instance_uid FROM performed_procedure_step")
    assert row["sop_instance_uid"].startswith("2.25.")
    assert answers[0].AffectedSOPInstanceUID == row["sop_instance_uid"]


def test_a_step_belongs_to_the_peer_that_created_it(clinic: Clinic, port: int, modality: Modality) -> None:
    modality.create(begin())
    clinic.owner.execute(
        "INSERT INTO peer (tenant, ae_title, host, port) VALUES ('alpha', 'OTHER', '127.0.0.1', 104)"
    )
    for ae_title, called in (("OTHER", "ALPHA"), ("PACS", "BETA")):
        stranger = Modality(port, ImplicitVRLittleEndian, ae_title, called)
        assert stranger.set(change("COMPLETED")).Status == 0x0112
        stranger.link.release()
    # The same UID at another hospital is another step.
    neighbour = Modality(port, ImplicitVRLittleEndian, called="BETA")
    assert neighbour.create(begin()).Status == 0
    neighbour.link.release()
    assert len(clinic.rows("SELECT 1 FROM performed_procedure_step")) == 2


def test_without_a_database_the_peer_may_ask_again(clinic: Clinic, modality: Modality) -> None:
    clinic.owner.execute("ALTER TABLE performed_procedure_step RENAME TO gone")
    assert modality.create(begin()).Status == 0x0110
    clinic.owner.execute("ALTER TABLE gone RENAME TO performed_procedure_step")
    assert modality.create(begin()).Status == 0
