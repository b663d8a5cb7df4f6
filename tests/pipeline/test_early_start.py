"""`start: series`: what is whole is read while others still arrive; and a rule's own quiet time and late policy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

from billing.contracts import store as billing_store
from dicom_gateway.write_ct import write_ct_series
from inference.onnxruntime_endpoint import OnnxRuntimeEndpoint
from inference.scheduler import Scheduler
from models.lung_nodule_ct.phantom import Phantom
from models.registry import get_model
from pipeline import store
from pipeline.completion_text import sentence
from pipeline.route_study import mark_standing
from pipeline.services import Services
from pipeline.status import StudyStatus
from pipeline.store import StudyRecord
from pipeline.study_path import take_step
from tests.conftest import ROOT
from tests.pipeline.conftest import ALPHA, Clinic, received_from
from tests.pipeline.test_route_study import put_in_force
from tests.small_chest import small_chest

RULE = """rules:
  - name: chest CT
    series: Modality == "CT" and SeriesNumber == 1
    models: [lung_nodule_ct]
    start: series
"""
CONTRACT = ROOT / "examples/contract_per_case.yaml"


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return small_chest()


class Sender:
    """A study of two series on disk, and what has come of it."""

    def __init__(self, clinic: Clinic, services: Services, phantom: Phantom) -> None:
        self.clinic, self.services = clinic, services
        root = clinic.services.folders.instances
        self.chest = write_ct_series(
            phantom.voxels, phantom.spacing_mm, root / "chest", seed="e", study_description="CT Chest"
        )
        self.other = [self._other(root, path, number) for number, path in enumerate(self.chest[:12])]
        self.uid = str(pydicom.dcmread(self.chest[0], stop_before_pixels=True).StudyInstanceUID)

    @staticmethod
    def _other(root: Path, source: Path, number: int) -> Path:
        """An instance of a second series, of images that no model reads."""
        dataset = pydicom.dcmread(source)
        dataset.SeriesInstanceUID, dataset.SeriesNumber = "2.25.4711", 2
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"2.25.4711{number:03d}"
        dataset.ImageType = ["DERIVED", "SECONDARY", "REFORMATTED"]
        path = root / f"other-{number}.dcm"
        dataset.save_as(path)
        return path

    def send(self, paths: list[Path]) -> None:
        for path in paths:
            self.clinic.receive(received_from(path, self.services.folders.instances))

    def age_chest(self) -> None:
        """A minute passes for the chest series, while the other one goes on."""
        self.clinic.owner.execute(
            """UPDATE instance SET received_at = received_at - interval '1 minute'
               WHERE series_instance_uid <> '2.25.4711'"""
        )

    def look(self) -> StudyRecord:
        self.clinic.assemble(services=self.services)
        return self.study

    @property
    def study(self) -> StudyRecord:
        (row,) = self.clinic.rows("SELECT id FROM study WHERE study_instance_uid = %s", self.uid)
        with self.clinic.database.transaction(ALPHA) as conn:
            return store.get_study(conn, ALPHA, row["id"])

    def run(self) -> StudyRecord:
        """Take the steps that follow, as far as they go, and acknowledge what they want delivered."""
        for _ in range(5):
            study = self.study
            take_step(self.services, ALPHA, str(study.id), study.revision, attempts=0)
        self.clinic.owner.execute(
            "UPDATE delivery SET state = 'acknowledged', acknowledged_at = now() WHERE state = 'waiting'"
        )
        study = self.study
        take_step(self.services, ALPHA, str(study.id), study.revision, attempts=0)
        return self.study

    def usage(self) -> list[tuple[str, str]]:
        with self.clinic.database.transaction(ALPHA) as conn:
            found = billing_store.usage_for_study(conn, ALPHA, str(self.study.id))
        return [(one.event.kind, one.decision.reason_code) for one in found]

    def said(self) -> str:
        (row,) = self.clinic.rows("SELECT decision FROM arrival WHERE closed_at IS NULL")
        return sentence(row["decision"])


@pytest.fixture
def sender(clinic: Clinic, changed: Callable[..., Services], phantom: Phantom) -> Sender:
    with clinic.database.transaction(ALPHA) as conn:
        billing_store.add_contract(conn, ALPHA, CONTRACT.read_text("utf-8"))
    services = changed(get_model=get_model, scheduler=Scheduler(OnnxRuntimeEndpoint(2)))
    return Sender(clinic, services, phantom)


def runs(clinic: Clinic) -> list[tuple[int, str]]:
    return [
        (row["revision"], row["product"])
        for row in clinic.rows("SELECT revision, product FROM result ORDER BY revision, product")
    ]


def test_it_starts_before_the_rest_has_come_and_the_rest_runs_and_costs_nothing_again(
    clinic: Clinic, sender: Sender
) -> None:
    put_in_force(clinic, RULE)
    sender.send(sender.chest)
    assert sender.look().status is StudyStatus.RECEIVING, "the series has not been silent"
    sender.send(sender.other[:4])
    sender.age_chest()
    early = sender.look()
    assert (early.status, early.revision) == (StudyStatus.ASSEMBLED, 1)
    assert early.completion == "series 1 is whole (28 images); other series still arrive"
    assert sender.said().startswith("started with series 1; 1 series still arriving; 32 images are here")
    sender.send(sender.other[4:8])
    assert sender.look().status is StudyStatus.ASSEMBLED, "it is started once"

    first = sender.run()
    assert (first.status, first.revision, len(first.route)) == (StudyStatus.DELIVERED, 1, 1)
    assert sender.usage() == [("result_delivered", "first_delivery")]
    sender.send(sender.other[8:])
    assert sender.look().status is StudyStatus.DELIVERED
    assert clinic.rows("SELECT count(*) AS n FROM arrival WHERE closed_at IS NULL") == [{"n": 1}]

    clinic.fall_silent()
    whole = sender.look()
    assert (whole.status, whole.revision, whole.started_with) == (StudyStatus.ASSEMBLED, 2, None)
    last = sender.run()
    assert (last.status, last.revision) == (StudyStatus.DELIVERED, 2)
    assert runs(clinic) == [(1, "lung_nodule_ct")]
    assert sender.usage() == [("result_delivered", "first_delivery")]
    assert clinic.rows("SELECT outcome, new_count FROM arrival") == [
        {"outcome": "assembled", "new_count": 40}
    ]
    with clinic.database.transaction(ALPHA) as conn:
        assert [row["revision"] for row in store.present_results(conn, last)] == [1]


def test_a_slice_that_comes_after_the_start_makes_the_next_revision(clinic: Clinic, sender: Sender) -> None:
    put_in_force(clinic, RULE)
    sender.send(sender.chest[:-1])
    sender.send(sender.other[:2])
    sender.age_chest()
    assert sender.look().status is StudyStatus.ASSEMBLED
    assert sender.run().status is StudyStatus.DELIVERED
    sender.send(sender.chest[-1:])
    clinic.fall_silent()
    assert sender.look().revision == 2
    assert sender.run().status is StudyStatus.DELIVERED
    assert runs(clinic) == [(1, "lung_nodule_ct"), (2, "lung_nodule_ct")]
    assert sender.usage() == [("result_delivered", "first_delivery"), ("result_delivered", "already_charged")]


def test_a_start_is_read_without_the_rest_and_a_busy_study_lets_the_rest_wait(
    clinic: Clinic, sender: Sender
) -> None:
    put_in_force(clinic, RULE)
    sender.send(sender.chest)
    sender.age_chest()
    sender.send(sender.other[:2])
    sender.look()
    sender.send(sender.other[2:])
    study = sender.study
    take_step(sender.services, ALPHA, str(study.id), 1, attempts=0)
    assert sender.study.status is StudyStatus.ROUTED
    facts = sender.clinic.rows("SELECT detail FROM study_event WHERE event = 'study_routed'")
    assert facts[0]["detail"]["unreadable"] == 0
    clinic.fall_silent()
    assert sender.look().status is StudyStatus.ROUTED
    assert sender.said() == "new images wait for the end of the revision in progress"


@pytest.mark.parametrize(
    "rule",
    [
        RULE.replace("    start: series\n", ""),
        RULE.replace("SeriesNumber == 1", "SeriesNumber == 2"),
        RULE + "    required_series: [SeriesNumber == 2]\n",
        RULE.replace("start: series", 'start: series\n    when: StudyDescription == "knee"'),
    ],
    ids=[
        "start is the study",
        "no model reads what is whole",
        "a required series is not whole",
        "no rule matches",
    ],
)
def test_nothing_starts_early_and_nothing_is_refused_early(clinic: Clinic, sender: Sender, rule: str) -> None:
    put_in_force(clinic, rule)
    sender.send(sender.chest)
    sender.send(sender.other[:2])
    sender.age_chest()
    assert sender.look().status is StudyStatus.RECEIVING
    assert clinic.jobs("take_step") == []


def test_a_rule_that_is_out_of_force_before_the_series_is_routed_lets_the_study_wait_again(
    clinic: Clinic, sender: Sender
) -> None:
    put_in_force(clinic, RULE)
    sender.send(sender.chest)
    sender.send(sender.other[:2])
    sender.age_chest()
    assert sender.look().status is StudyStatus.ASSEMBLED
    clinic.owner.execute("UPDATE route_rule_set SET state = 'retired'")
    take_step(sender.services, ALPHA, str(sender.study.id), 1, attempts=0)
    assert (sender.study.status, sender.study.started_with) == (StudyStatus.RECEIVING, None)
    clinic.fall_silent()
    assert sender.look().status is StudyStatus.ASSEMBLED
    assert sender.run().status is StudyStatus.DELIVERED
    assert sender.usage() == [("result_delivered", "first_delivery")]


def test_the_rest_of_a_study_that_began_early_is_not_late(clinic: Clinic, sender: Sender) -> None:
    clinic.owner.execute("UPDATE tenant SET late_policy = 'ignore'")
    put_in_force(clinic, RULE)
    sender.send(sender.chest)
    sender.send(sender.other[:2])
    sender.age_chest()
    sender.look()
    clinic.owner.execute("UPDATE study SET status = 'delivered'")
    clinic.fall_silent()
    assert sender.look().revision == 2


def test_a_result_that_stands_is_not_run_again_beside_one_that_only_the_rest_makes_possible() -> None:
    def choice(product: str, digest: str, **more: Any) -> dict[str, Any]:
        return {"product": product, "model_version": "1", "input_digest": digest, **more}

    def result(product: str, digest: str, **more: Any) -> dict[str, Any]:
        return choice(product, digest) | {"revision": 1, "is_delivered": True, "is_shadow": False} | more

    earlier = [result("a", "x"), result("s", "y", is_delivered=False, is_shadow=True)]

    def run(*choices: dict[str, Any]) -> list[str]:
        return [one["product"] for one in mark_standing(list(choices), earlier) if "standing" not in one]

    assert run(choice("a", "x"), choice("b", "z")) == ["b"]
    assert run(choice("a", "other"), choice("b", "z")) == ["a", "b"]
    assert run(choice("a", "x"), choice("s", "y", shadow=True)) == []
    assert run(choice("s", "y")) == ["s"], "what was shadow is now wanted"
    assert run(choice("a", "x"), choice("b", "z", shadow=True)) == ["a", "b"], "else it would end as shadowed"


@pytest.mark.parametrize(("seconds", "waits"), [(1, False), (600, True)])
def test_the_quiet_time_of_a_rule_goes_before_that_of_the_peer(
    clinic: Clinic, sender: Sender, seconds: int, waits: bool
) -> None:
    put_in_force(clinic, RULE.replace("start: series", f"quiet_time_s: {seconds}"))
    sender.send(sender.chest)
    back = "2 seconds" if seconds == 1 else "5 minutes"
    clinic.owner.execute(f"UPDATE arrival SET last_at = last_at - interval '{back}'")
    assert (sender.look().status is StudyStatus.RECEIVING) is waits


def test_the_late_policy_of_a_rule_goes_before_that_of_the_tenant(clinic: Clinic, sender: Sender) -> None:
    put_in_force(clinic, RULE.replace("start: series", "late_policy: ignore"))
    sender.send(sender.chest)
    clinic.fall_silent()
    sender.look()
    clinic.owner.execute("UPDATE study SET status = 'delivered'")
    sender.send(sender.other[:1])
    clinic.fall_silent()
    assert sender.look().revision == 1
    assert clinic.rows("SELECT outcome FROM arrival ORDER BY id")[1] == {"outcome": "ignored"}
