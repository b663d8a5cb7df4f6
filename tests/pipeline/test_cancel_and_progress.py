"""A study that a person cancels, how far its models are, and a model that cannot judge what others can."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from numpy.typing import NDArray

from billing.contracts import store as billing_store
from dicom_gateway.write_ct import write_ct_series
from inference.onnxruntime_endpoint import OnnxRuntimeEndpoint
from inference.scheduler import Scheduler
from models.errors import LungsNotFound
from models.lung_nodule_ct.model import LungNoduleCT
from models.model import Model, ModelInput
from models.registry import get_model
from pipeline import cancel_study as cancelling
from pipeline import store
from pipeline.errors import NotCancellable, StudyNotFound
from pipeline.progress import ASKED_EVERY_S, Following, progress_of
from pipeline.services import Services
from pipeline.status import StudyStatus
from pipeline.store import StudyRecord
from pipeline.study_path import take_step
from study.answer import Image
from tests.pipeline.conftest import ALPHA, BETA, Clinic, receive_files
from tests.pipeline.test_route_study import put_in_force
from tests.small_chest import SPACING_MM, small_chest


class Waits:
    """An endpoint whose runs begin, say so, and go on when told."""

    def __init__(self) -> None:
        self.began, self.go_on = threading.Event(), threading.Event()
        self.real = OnnxRuntimeEndpoint(2)

    def run(self, model: Model, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self.began.set()
        assert self.go_on.wait(20)
        return self.real.run(model, inputs)


def decoded(clinic: Clinic, services: Services) -> StudyRecord:
    """A phantom's study as it stands before its models run."""
    folder = clinic.services.folders.instances
    paths = write_ct_series(small_chest().voxels, SPACING_MM, folder, study_description="CT Chest")
    last = receive_files(clinic, paths)
    for _ in range(2):
        study = clinic.study(last)
        take_step(services, ALPHA, str(study.id), study.revision, attempts=0)
    study = clinic.study(last)
    assert study.status is StudyStatus.DECODED
    return study


def now(clinic: Clinic, study: StudyRecord) -> StudyRecord:
    with clinic.database.transaction(ALPHA) as conn:
        return store.get_study(conn, ALPHA, study.id)


def cancel(clinic: Clinic, study: StudyRecord, tenant: str = ALPHA) -> None:
    with clinic.database.transaction(tenant) as conn:
        cancelling.cancel_study(conn, tenant, study.id, by="Dr. Night")


@pytest.fixture
def alone(clinic: Clinic) -> None:
    put_in_force(clinic, "rules:\n  - {name: chest, models: [lung_nodule_ct]}\n")


@pytest.mark.usefixtures("alone")
def test_a_cancelled_study_is_rejected_by_name_and_its_run_changes_nothing(
    clinic: Clinic, changed: Callable[..., Services]
) -> None:
    endpoint = Waits()
    services = changed(get_model=get_model, scheduler=Scheduler(endpoint))
    study = decoded(clinic, services)
    with ThreadPoolExecutor(1) as pool:
        step = pool.submit(take_step, services, ALPHA, str(study.id), study.revision, attempts=0)
        assert endpoint.began.wait(20)
        with clinic.database.transaction(ALPHA) as conn:
            first = {"model": "lung_ct_segmentation", "done": 0, "total": 1}  # lung_nodule_ct uses it
            assert progress_of(conn, ALPHA, study.id) == [first]
        cancel(clinic, study)
        endpoint.go_on.set()
        step.result(timeout=60)
    after = now(clinic, study)
    assert (after.status, after.reason_code) == (StudyStatus.REJECTED, "CANCELLED")
    assert after.reason_text == "Cancelled by Dr. Night before the models had answered."
    with clinic.database.transaction(ALPHA) as conn:
        assert progress_of(conn, ALPHA, study.id) == []
        assert store.results(conn, ALPHA, study.id) == []
        usage = billing_store.usage_for_study(conn, ALPHA, str(study.id))
    assert [(one.event.kind, one.event.evidence["reason_code"]) for one in usage] == [
        ("refused", "CANCELLED")
    ]


@pytest.mark.usefixtures("alone")
def test_a_run_that_waits_for_the_device_gives_up_when_its_study_is_cancelled(
    clinic: Clinic, changed: Callable[..., Services]
) -> None:
    endpoint = Waits()
    scheduler = Scheduler(endpoint)
    services = changed(get_model=get_model, scheduler=scheduler)
    study = decoded(clinic, services)
    model = get_model("lung_nodule_ct")
    with ThreadPoolExecutor(2) as pool:
        other = pool.submit(scheduler.for_study(tenant=BETA).run, model, _smallest())
        assert endpoint.began.wait(20)
        step = pool.submit(take_step, services, ALPHA, str(study.id), study.revision, attempts=0)
        cancel(clinic, study)
        step.result(timeout=ASKED_EVERY_S + 20)
        endpoint.go_on.set()
        other.result(timeout=60)
    assert now(clinic, study).reason_code == "CANCELLED"


@pytest.mark.usefixtures("alone")
def test_a_step_that_a_stopping_worker_breaks_off_is_anothers_first_attempt(
    clinic: Clinic, changed: Callable[..., Services]
) -> None:
    stopping = Scheduler(OnnxRuntimeEndpoint(2))
    services = changed(get_model=get_model, scheduler=stopping)
    study = decoded(clinic, services)
    jobs = "SELECT count(*) AS n FROM procrastinate_jobs WHERE task_name = 'take_step' AND status = 'todo'"
    before = clinic.owner.execute(jobs).fetchone()
    stopping.close()
    take_step(services, ALPHA, str(study.id), study.revision, attempts=5)
    assert now(clinic, study).status is StudyStatus.DECODED
    after = clinic.owner.execute(jobs).fetchone()
    assert before is not None
    assert after == {"n": before["n"] + 1}


def _smallest() -> dict[str, NDArray[Any]]:
    import numpy as np

    return {"hounsfield": np.full((1, 48, 48, 48), -800, np.int16)}


@pytest.mark.usefixtures("alone")
def test_only_what_has_no_result_yet_can_be_cancelled_and_only_by_its_tenant(
    clinic: Clinic, changed: Callable[..., Services]
) -> None:
    services = changed(get_model=get_model, scheduler=Scheduler(OnnxRuntimeEndpoint(2)))
    study = decoded(clinic, services)
    with pytest.raises(StudyNotFound):
        cancel(clinic, study, tenant=BETA)
    take_step(services, ALPHA, str(study.id), study.revision, attempts=0)
    with pytest.raises(NotCancellable, match="inferred"):
        cancel(clinic, study)


def test_new_images_of_a_study_end_its_present_run(clinic: Clinic) -> None:
    at = iter((0.0, ASKED_EVERY_S / 2, ASKED_EVERY_S, 2 * ASKED_EVERY_S))
    last = receive_files(clinic, write_ct_series_of_two(clinic))
    following = Following(clinic.database, clinic.study(last), clock=lambda: next(at))
    assert not following.is_cancelled()
    clinic.owner.execute("UPDATE study SET revision = revision + 1")
    assert not following.is_cancelled(), "asked a moment ago"
    assert following.is_cancelled()


def write_ct_series_of_two(clinic: Clinic) -> Any:
    return write_ct_series(small_chest().voxels[:2], SPACING_MM, clinic.services.folders.instances)


class Unfit(LungNoduleCT):
    """A model that can judge nothing."""

    def preprocess(self, image: Image) -> ModelInput:
        raise LungsNotFound


def test_a_model_that_cannot_judge_its_series_does_not_take_the_others_result_away(
    clinic: Clinic, changed: Callable[..., Services]
) -> None:
    put_in_force(clinic, "rules:\n  - {name: chest, models: [lung_nodule_ct, second_look]}\n")

    def find(name: str, **_: object) -> Model:
        model = get_model("lung_nodule_ct")
        if name == "lung_nodule_ct":
            return model
        assert isinstance(model, LungNoduleCT)
        return Unfit(dataclasses.replace(model.manifest, name=name, product_code=name))

    services = changed(get_model=find, scheduler=Scheduler(OnnxRuntimeEndpoint(2)))
    study = decoded(clinic, services)
    take_step(services, ALPHA, str(study.id), study.revision, attempts=0)
    after = now(clinic, study)
    assert after.status is StudyStatus.INFERRED
    assert [choice["product"] for choice in after.to_run] == ["lung_nodule_ct"]
    (refused,) = after.refused_choices
    assert (refused["product"], refused["refused"]["code"]) == ("second_look", "LUNGS_NOT_FOUND")
    with clinic.database.transaction(ALPHA) as conn:
        assert [row["product"] for row in store.results(conn, ALPHA, study.id)] == ["lung_nodule_ct"]
        told = [row for row in store.study_events(conn, ALPHA, study.id) if row["event"] == "model_refused"]
    assert [row["detail"]["product"] for row in told] == ["second_look"]
    take_step(services, ALPHA, str(study.id), study.revision, attempts=0)
    assert now(clinic, study).status is StudyStatus.ENCODED
    assert not list(services.folders.results_of(study).glob("second_look*"))


def test_a_study_that_no_model_can_judge_is_refused_with_the_first_reason(
    clinic: Clinic, changed: Callable[..., Services]
) -> None:
    put_in_force(clinic, "rules:\n  - {name: chest, models: [lung_nodule_ct]}\n")
    model = get_model("lung_nodule_ct")
    services = changed(
        get_model=lambda name, **_: Unfit(model.manifest), scheduler=Scheduler(OnnxRuntimeEndpoint(2))
    )
    study = decoded(clinic, services)
    take_step(services, ALPHA, str(study.id), study.revision, attempts=0)
    after = now(clinic, study)
    assert (after.status, after.reason_code) == (StudyStatus.REJECTED, "LUNGS_NOT_FOUND")
