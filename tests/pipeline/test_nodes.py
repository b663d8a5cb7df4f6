"""One study from C-STORE to delivered, each step on another node: the database and a bucket are all they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE

from inference.onnxruntime_endpoint import OnnxRuntimeEndpoint
from inference.scheduler import Scheduler
from models.chest_radiograph.phantom import take_frontal
from models.registry import get_model
from pipeline import store, study_path
from pipeline.deliver_to import deliver_to
from pipeline.destinations import DestinationRecord, save_destination
from pipeline.queue import defer_step
from pipeline.services import Folders, Services
from pipeline.status import StudyStatus
from pipeline.store import StudyRecord
from pipeline.study_path import take_step
from portal.report_files import find_reports
from storage.remote_objects import RemoteObjects
from tests.pipeline.conftest import ALPHA, Clinic
from tests.pipeline.services import running_gateway
from tests.pipeline.test_radiograph_path import PATIENT, stored
from tests.pipeline.test_route_study import put_in_force
from tests.radiograph_files import write_radiograph
from tests.s3_server import Bucket
from tests.scripted_pacs import ScriptedPacs

Node = Callable[[str], Services]


@pytest.fixture
def node(clinic: Clinic, changed: Callable[..., Services], bucket: Bucket, tmp_path: Path) -> Node:
    """`node("a")`: the services of a worker with a data folder of its own, and the bucket that all share."""
    put_in_force(clinic, "rules:\n  - {name: chest, models: [chest_radiograph]}\n")
    scheduler = Scheduler(OnnxRuntimeEndpoint(1))
    made: dict[str, Services] = {}

    def services(name: str) -> Services:
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        objects = RemoteObjects(root, bucket.store(request_s=5.0), cache_bytes_max=1 << 30)
        folders = Folders(root / "instances", root / "work", root / "results", tmp_path / "secrets", objects)
        later = lambda conn, study, delay_s: defer_step(clinic.queue, conn, study, delay_s)  # noqa: E731
        return changed(get_model=get_model, scheduler=scheduler, folders=folders, defer_step_later=later)

    return lambda name: made.setdefault(name, services(name))


def send(dataset: Dataset, port: int) -> int:
    """The status that the gateway answers by DIMSE."""
    entity = AE("PACS")
    entity.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    link = entity.associate("127.0.0.1", port, ae_title=ALPHA.upper())
    assert link.is_established
    status = link.send_c_store(dataset).Status
    link.release()
    return int(status)


@pytest.fixture
def study(clinic: Clinic, node: Node, bucket: Bucket, tmp_path: Path) -> StudyRecord:
    """A frontal radiograph that a gateway has taken in, once the store was there, on a node that no worker runs on."""
    picture = take_frontal(np.random.default_rng(2), PATIENT, frozenset({"pleural_effusion"}))
    path = write_radiograph(
        tmp_path / "sent.dcm", stored(picture.pixels, inverted=True), modality="CR", BitsStored=12,
        InstanceNumber=1, PhotometricInterpretation="MONOCHROME1",
    )  # fmt: skip
    dataset = pydicom.dcmread(path)
    with running_gateway(clinic, folders=node("gateway").folders) as port:
        bucket.door.set("refuse")
        assert send(dataset, port) == 0xA700
        assert clinic.rows("SELECT 1 FROM instance") == []
        bucket.door.set(None)
        assert send(dataset, port) == 0x0000
    (row,) = clinic.rows("SELECT location FROM instance")
    assert bucket.server.keys(bucket.name) == [f"hospital/a/instances/{row['location']}"]
    clinic.fall_silent()
    clinic.assemble(services=node("a"))
    (row,) = clinic.rows("SELECT id FROM study")
    with clinic.database.transaction(ALPHA) as conn:
        return store.get_study(conn, ALPHA, row["id"])


def take(clinic: Clinic, services: Services, study: StudyRecord) -> StudyRecord:
    take_step(services, ALPHA, str(study.id), study.revision, attempts=0)
    with clinic.database.transaction(ALPHA) as conn:
        return store.get_study(conn, ALPHA, study.id)


def lying(bucket: Bucket) -> set[str]:
    """Folders of the first level that have objects."""
    return {key.split("/")[2] for key in bucket.server.keys(bucket.name)}


def test_each_step_finds_on_its_node_what_the_one_before_left_on_another(
    clinic: Clinic, node: Node, study: StudyRecord, bucket: Bucket
) -> None:
    steps = (("a", "routed"), ("b", "decoded"), ("c", "inferred"), ("d", "encoded"), ("a", "encoded"))
    for name, status in steps:
        study = take(clinic, node(name), study)
        assert (study.status, study.reason_code) == (status, None), f"on {name}"
    assert lying(bucket) == {"instances", "work", "results"}
    with ScriptedPacs.listening() as pacs:
        values: dict[str, Any] = {"ae_title": "PACS", "host": "127.0.0.1", "port": pacs.port}
        with clinic.database.transaction(ALPHA) as conn:
            save_destination(conn, DestinationRecord(ALPHA, "PACS", **values))
        deliver_to(node("e"), ALPHA, str(study.id), "PACS")
        assert len(pacs.received) == len(clinic.rows("SELECT 1 FROM delivery"))
    with clinic.database.transaction(ALPHA) as conn:
        study = store.get_study(conn, ALPHA, study.id)
    assert study.status is StudyStatus.DELIVERED
    assert lying(bucket) == {"instances", "results"}, "its work is discarded everywhere"
    assert find_reports(node("portal").folders, study)[0].pdf is not None


def test_a_step_whose_result_cannot_be_kept_waits_and_nothing_of_it_is_committed(
    clinic: Clinic, node: Node, study: StudyRecord, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = node("a")

    def store_goes_away(services: Services, record: StudyRecord) -> Any:
        outcome = step.work(services, record)
        bucket.door.set("refuse")
        return outcome

    step = study_path.STEP_AFTER[StudyStatus.ASSEMBLED]
    with monkeypatch.context() as patch:
        patch.setitem(study_path.STEP_AFTER, StudyStatus.ASSEMBLED, replace(step, work=store_goes_away))
        after = take(clinic, worker, study)
    bucket.door.set(None)
    assert (after.status, after.reason_code) == ("assembled", None)
    assert clinic.rows("SELECT event FROM study_event WHERE event = 'study_failed'") == []
    waiting = clinic.rows(
        "SELECT 1 FROM procrastinate_jobs WHERE task_name = 'take_step' AND scheduled_at > now()"
    )
    assert len(waiting) == 1
    assert take(clinic, worker, study).status == "routed"


def test_who_comes_back_when_another_has_taken_the_step_keeps_nothing(
    clinic: Clinic, node: Node, study: StudyRecord, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = node("slow"), node("quick")
    step = study_path.STEP_AFTER[StudyStatus.ASSEMBLED]

    def overtaken(services: Services, record: StudyRecord) -> Any:
        outcome = step.work(services, record)
        if services is slow:
            (services.folders.work_of(record) / "study.json").write_text("what it had read an hour ago")
            take(clinic, quick, record)
        return outcome

    monkeypatch.setitem(study_path.STEP_AFTER, StudyStatus.ASSEMBLED, replace(step, work=overtaken))
    after = take(clinic, slow, study)
    assert after.status == "routed"
    (key,) = (key for key in bucket.server.keys(bucket.name) if key.endswith("study.json"))
    kept = bucket.server.client().get_object(Bucket=bucket.name, Key=key)["Body"].read()
    assert b"an hour ago" not in kept
    assert len(clinic.rows("SELECT 1 FROM study_event WHERE event = 'study_routed'")) == 1
