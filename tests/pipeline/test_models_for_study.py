"""Versions and thresholds through every real step: what the route step pins is what runs and what is stated."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydicom import dcmread

from billing.contracts import store as billing_store
from dicom_gateway.instance_sink import ReceivedInstance
from dicom_gateway.write_ct import write_ct_series
from inference.onnxruntime_endpoint import OnnxRuntimeEndpoint
from inference.scheduler import Scheduler
from models.registry import find_models, get_model
from pipeline import deployments, finish, peers, store
from pipeline.deployments import Deployment, Threshold
from pipeline.models_for_study import InForce, ModelsForStudy, active_manifests, percentile
from pipeline.route_study import mark_standing
from pipeline.services import Services
from pipeline.status import StudyStatus
from pipeline.store import StudyRecord
from pipeline.study_path import take_step
from tests.conftest import ROOT
from tests.pipeline.conftest import ALPHA, Clinic, receive_files
from tests.pipeline.rule_builders import ct_series, ct_study
from tests.small_chest import SPACING_MM, small_chest

MODEL = "lung_nodule_ct"
BUILT_IN = get_model(MODEL).manifest
CONTRACT = ROOT / "examples/contract_per_case.yaml"


def install_copy(data: Path, version: str, **changes: str) -> None:
    """The built-in model once more, under another version."""
    folder = data / "models" / MODEL / version
    shutil.copytree(BUILT_IN.folder, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    text = (folder / "manifest.toml").read_text("utf-8")
    for old, new in {f'version = "{BUILT_IN.version}"': f'version = "{version}"', **changes}.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "manifest.toml").write_text(text, "utf-8")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    install_copy(folder, "9.0")
    return folder


class TestOneStudyOfMany:
    def test_a_canary_gets_its_share_and_keeps_its_studies_when_the_share_grows(self) -> None:
        ids = [UUID(int=number * 7919) for number in range(4000)]
        small = {one for one in ids if percentile(MODEL, one) < 5}
        large = {one for one in ids if percentile(MODEL, one) < 30}
        assert 0.04 < len(small) / len(ids) < 0.06
        assert 0.28 < len(large) / len(ids) < 0.32
        assert small < large
        assert small == {one for one in ids if percentile(MODEL, one) < 5}, "the choice is the same each time"
        others = {one for one in ids if percentile("chest_radiograph", one) < 5}
        assert len(small & others) < 0.5 * len(small), "two canaries do not fall on the same studies"

    @pytest.mark.parametrize(
        ("thresholds", "used"),
        [
            ([], BUILT_IN.operating_threshold),
            ([("", "", 0.1)], 0.1),
            ([("", "", 0.1), ("north", "", 0.2)], 0.2),
            ([("", "", 0.1), ("north", "", 0.2), ("", "PACS", 0.3)], 0.3),
            ([("south", "", 0.2), ("", "OTHER", 0.3)], BUILT_IN.operating_threshold),
        ],
    )
    def test_the_threshold_of_the_peer_goes_before_its_sites_and_that_before_the_tenants(
        self, thresholds: list[tuple[str, str, float]], used: float
    ) -> None:
        rows = tuple(Threshold(MODEL, BUILT_IN.version, value, site, ae) for site, ae, value in thresholds)
        other_version = Threshold(MODEL, "0.0.1", 0.9)
        decided = InForce(uuid4(), "PACS", "north", {}, (*rows, other_version))
        (choice,) = pinned(ModelsForStudy(get_model, decided))
        assert choice["threshold"] == used

    def test_a_choice_tells_the_version_that_reads_it_and_those_that_might_have(self, data: Path) -> None:
        deployment = Deployment(MODEL, canary="9.0", canary_percent=30, shadow=None)
        found = {}
        for number in range(40):
            decided = InForce(UUID(int=number), "PACS", "", {MODEL: deployment}, ())
            models = ModelsForStudy(functools.partial(get_model, data_directory=data), decided)
            (choice,) = pinned(models)
            found[choice["deployment"]["role"]] = choice
        assert {role: one["model_version"] for role, one in found.items()} == {
            "active": BUILT_IN.version,
            "canary": "9.0",
        }
        assert found["active"]["deployment"] == {
            "role": "active", "active": "default", "canary": "9.0", "percent": 30,
        }  # fmt: skip


def pinned(models: ModelsForStudy) -> list[dict[str, Any]]:
    study = ct_study(ct_series(slices=30))
    manifest = models.manifest(MODEL)
    choice = {
        "product": MODEL,
        "model": MODEL,
        "model_version": manifest.version,
        "series_instance_uid": study.series[0].series_instance_uid,
    }
    return models.pin([choice], study)


def test_rules_are_tried_with_the_version_that_is_active(clinic: Clinic, data: Path) -> None:
    find = functools.partial(get_model, data_directory=data)
    with clinic.database.transaction(ALPHA) as conn:
        assert active_manifests(conn, ALPHA, find)(MODEL) == BUILT_IN
        deployments.activate(conn, ALPHA, find_models(data), MODEL, "9.0", by="ann")
        assert active_manifests(conn, ALPHA, find)(MODEL).version == "9.0"


@pytest.fixture
def received(clinic: Clinic) -> ReceivedInstance:
    folder = clinic.services.folders.instances
    paths = write_ct_series(small_chest().voxels, SPACING_MM, folder, study_description="CT Chest")
    return receive_files(clinic, paths)


@pytest.fixture
def services(changed: Callable[..., Services], data: Path) -> Services:
    def find(name: str, **pinned: Any) -> Any:
        """Without the models that it uses, which take most of the time and have tests of their own."""
        model: Any = get_model(name, data, **pinned)
        return dataclasses.replace(model, manifest=dataclasses.replace(model.manifest, uses=()))

    return changed(get_model=find, scheduler=Scheduler(OnnxRuntimeEndpoint(2)))


def walk(clinic: Clinic, services: Services, received: ReceivedInstance, steps: int) -> StudyRecord:
    for _ in range(steps):
        study = clinic.study(received)
        take_step(services, ALPHA, str(study.id), study.revision, attempts=0)
    return clinic.study(received)


def test_a_study_keeps_its_version_and_threshold_through_a_roll_back_while_another_version_runs_in_shadow(
    clinic: Clinic, services: Services, received: ReceivedInstance, data: Path
) -> None:
    catalogue = find_models(data)
    site = peers.PeerEntry(ae_title="PACS", host="127.0.0.1", port=104, quiet_time_s=5.0, site="north")
    with clinic.database.transaction(ALPHA) as conn:
        billing_store.add_contract(conn, ALPHA, CONTRACT.read_text("utf-8"))
        peers.save_entry(conn, ALPHA, site)
        deployments.activate(conn, ALPHA, catalogue, MODEL, "9.0", by="ann")
        deployments.set_shadow(conn, ALPHA, catalogue, MODEL, BUILT_IN.version, by="ann")
        wanted = Threshold(MODEL, "9.0", 0.3125, site="north")
        deployments.set_threshold(conn, ALPHA, catalogue, wanted, by="ann")
    study = walk(clinic, services, received, 1)
    assert [(one["product"], one["model_version"], one["threshold"]) for one in study.route] == [
        (MODEL, "9.0", 0.3125),
        (f"{MODEL}@{BUILT_IN.version}", BUILT_IN.version, BUILT_IN.operating_threshold),
    ]
    with clinic.database.transaction(ALPHA) as conn:
        deployments.roll_back(conn, ALPHA, catalogue, MODEL, by="bob")
        deployments.set_threshold(conn, ALPHA, catalogue, wanted, remove=True, by="bob")
    study = walk(clinic, services, received, 3)
    assert study.status is StudyStatus.ENCODED
    with clinic.database.transaction(ALPHA) as conn:
        results = {row["is_shadow"]: row for row in store.results(conn, ALPHA, study.id)}
        objects = store.result_objects(conn, ALPHA, study.id)
    assert (results[False]["model_version"], results[False]["operating_threshold"]) == ("9.0", 0.3125)
    assert results[False]["deployment"] == {"role": "active", "active": "9.0", "shadow": BUILT_IN.version}
    assert results[True]["model_version"] == BUILT_IN.version
    assert results[True]["deployment"]["role"] == "shadow"
    assert {row["product"] for row in objects} == {MODEL}, "nothing of the shadow could be sent"
    folder = services.folders.results_of(study)
    report = json.loads((folder / "report.json").read_text("utf-8"))
    assert report["model"]["operating_threshold"] == 0.3125
    assert (folder / f"{MODEL}@{BUILT_IN.version}/report.json").is_file()
    assert "operating threshold of 0.3125" in dcmread(folder / f"{MODEL}.sr.dcm").to_json()
    with clinic.database.transaction(ALPHA) as conn:
        purposes = [
            finish.usage_event(
                conn, study, one["product"], "result_delivered", datetime.now(UTC), key="k"
            ).purpose
            for one in study.route
        ]
    assert purposes == ["clinical", "shadow"], "the shadow is not charged"


def test_a_shadow_that_breaks_costs_the_study_nothing(
    clinic: Clinic, services: Services, received: ReceivedInstance, data: Path
) -> None:
    # Of one output it says another shape than the graph gives.
    scores = f"scores = {list(BUILT_IN.outputs['scores'])}"
    install_copy(data, "9.1", **{scores: "scores = [1, 7]"})
    with clinic.database.transaction(ALPHA) as conn:
        deployments.set_shadow(conn, ALPHA, find_models(data), MODEL, "9.1", by="ann")
    study = walk(clinic, services, received, 4)
    assert study.status is StudyStatus.ENCODED
    (lost,) = study.refused_choices
    assert (lost["product"], lost["refused"]["code"]) == (f"{MODEL}@9.1", "SHADOW_FAILED")
    with clinic.database.transaction(ALPHA) as conn:
        assert [row["product"] for row in store.results(conn, ALPHA, study.id)] == [MODEL]


def test_a_study_whose_version_was_removed_fails_visibly(
    clinic: Clinic, services: Services, received: ReceivedInstance, data: Path
) -> None:
    with clinic.database.transaction(ALPHA) as conn:
        deployments.activate(conn, ALPHA, find_models(data), MODEL, "9.0", by="ann")
    walk(clinic, services, received, 2)
    shutil.rmtree(data / "models" / MODEL / "9.0")
    study = walk(clinic, services, received, 1)
    assert (study.status, study.reason_code) == (StudyStatus.FAILED, "MODEL_VERSION_MISSING")
    assert study.reason_text is not None
    assert "lung_nodule_ct has no version '9.0'" in study.reason_text


def test_what_an_older_release_has_routed_still_runs(
    clinic: Clinic, services: Services, received: ReceivedInstance
) -> None:
    study = walk(clinic, services, received, 2)
    old = [
        {key: value for key, value in one.items() if key not in ("threshold", "deployment", "uses")}
        for one in study.route
    ]
    clinic.owner.execute("UPDATE study SET route = %s", (json.dumps(old),))
    study = walk(clinic, services, received, 2)
    assert study.status is StudyStatus.ENCODED
    with clinic.database.transaction(ALPHA) as conn:
        (row,) = store.results(conn, ALPHA, study.id)
    assert (row["operating_threshold"], row["deployment"]) == (None, {})


def test_a_result_stands_for_its_version_and_threshold_alone_and_a_new_shadow_does_not_run_it_again() -> None:
    def choice(product: str = "a", version: str = "1", threshold: float = 0.5, **more: Any) -> dict[str, Any]:
        return {
            "product": product,
            "model_version": version,
            "input_digest": "x",
            "threshold": threshold,
            **more,
        }

    def run(*choices: dict[str, Any], noted: float | None = 0.5) -> list[str]:
        earlier = choice() | {
            "revision": 1,
            "is_delivered": True,
            "is_shadow": False,
            "operating_threshold": noted,
        }
        return [one["product"] for one in mark_standing(list(choices), [earlier]) if "standing" not in one]

    trial = choice("a@2", "2", shadow=True, deployment={"role": "shadow"})
    assert run(choice()) == []
    assert run(choice(version="2")) == ["a"]
    assert run(choice(threshold=0.4)) == ["a"], "another threshold finds other things"
    assert run(choice(threshold=0.4), noted=None) == [], "of older results the threshold was not noted"
    assert run(choice(), trial) == []
    assert run(choice(threshold=0.4), trial) == ["a", "a@2"]
