"""What a tenant runs of a model: versions, canary, shadow, thresholds, the way back; each change audited."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import ModelNotFound, ModelVersionNotFound
from models.manifest import load_manifest
from models.registry import Catalogue
from pipeline import deployments
from pipeline.audit import find_problems
from pipeline.database import Connection
from pipeline.deployments import Deployment, Threshold
from pipeline.errors import DeploymentRefused
from pipeline.model_users import missing_versions, users_of
from tests.model_packages import package_files, write_folder
from tests.pipeline.conftest import ALPHA, BETA, Clinic

MEANS = "means"


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    versions = ("1.0", "1.1", "2.0")
    return Catalogue(
        tuple(load_manifest(write_folder(tmp_path / one, package_files(version=one))) for one in versions)
    )


class Books:
    """The deployments of one tenant in one transaction, with the catalogue filled in."""

    def __init__(self, conn: Connection, catalogue: Catalogue) -> None:
        self.conn, self.catalogue = conn, catalogue

    def activate(self, version: str) -> Deployment:
        return deployments.activate(self.conn, ALPHA, self.catalogue, MEANS, version, by="ann")

    def canary(self, version: str | None, percent: int = 0) -> Deployment:
        return deployments.set_canary(self.conn, ALPHA, self.catalogue, MEANS, version, percent, by="ann")

    def shadow(self, version: str | None) -> Deployment:
        return deployments.set_shadow(self.conn, ALPHA, self.catalogue, MEANS, version, by="ann")

    def roll_back(self) -> Deployment:
        return deployments.roll_back(self.conn, ALPHA, self.catalogue, MEANS, by="bob")

    def history(self) -> list[str]:
        rows = deployments.history(self.conn, ALPHA, MEANS)
        return [f"{row['detail']['by']}: {deployments.change_text(row['detail'])}" for row in rows]


def test_each_activation_can_be_taken_back_in_turn(clinic: Clinic, catalogue: Catalogue) -> None:
    with clinic.database.transaction(ALPHA) as conn:
        books = Books(conn, catalogue)
        books.activate("1.1")
        books.activate("2.0")
        assert books.activate("2.0").former == ("", "1.1"), "what is active already changes nothing"
        assert books.roll_back().active == "1.1"
        assert books.roll_back().active == deployments.DEFAULT
        with pytest.raises(DeploymentRefused, match="no other version of means was active before"):
            books.roll_back()
        assert books.history() == [
            "bob: rolled back default, from 1.1",
            "bob: rolled back 1.1, from 2.0",
            "ann: activated 2.0",
            "ann: activated 1.1",
        ]
    assert find_problems(clinic.owner) == []


def test_a_roll_back_during_a_canary_ends_the_canary_first(clinic: Clinic, catalogue: Catalogue) -> None:
    with clinic.database.transaction(ALPHA) as conn:
        books = Books(conn, catalogue)
        books.activate("1.1")
        books.canary("2.0", 10)
        assert books.roll_back() == Deployment(MEANS, "1.1", ("",))
        assert books.roll_back().active == deployments.DEFAULT
        assert books.history()[2:] == ["ann: canary 2.0, 10 %", "ann: activated 1.1"]


def test_a_canary_that_is_activated_is_no_canary_any_more(clinic: Clinic, catalogue: Catalogue) -> None:
    with clinic.database.transaction(ALPHA) as conn:
        books = Books(conn, catalogue)
        books.canary("1.1", 5)
        books.shadow("2.0")
        after = books.canary("1.1", 50)
        assert (after.canary, after.canary_percent, after.shadow) == ("1.1", 50, "2.0")
        assert books.activate("1.1") == Deployment(MEANS, "1.1", ("",), shadow="2.0")
        assert books.activate("2.0").shadow is None
        assert books.shadow("1.1").shadow == "1.1"
        assert books.shadow(None) == deployments.get_deployment(conn, ALPHA, MEANS)
        assert books.canary(None) == books.shadow(None), "what does not run is ended without a word"
        assert books.history()[0] == "ann: shadow ended 1.1"


def test_what_makes_no_sense_is_refused_with_what_does(clinic: Clinic, catalogue: Catalogue) -> None:
    with clinic.database.transaction(ALPHA) as conn:
        books = Books(conn, catalogue)
        with pytest.raises(
            ModelVersionNotFound, match=r"means has no version '3'; there is 1\.0, 1\.1, 2\.0"
        ):
            books.activate("3")
        for percent in (0, 100, -5):
            with pytest.raises(DeploymentRefused, match="1 to 99 percent"):
                books.canary("1.1", percent)
        books.activate("1.1")
        for attempt in (lambda: books.canary("1.1", 5), lambda: books.shadow("1.1")):
            with pytest.raises(DeploymentRefused, match=r"means 1\.1 is the active version already"):
                attempt()
        with pytest.raises(ModelNotFound):
            deployments.set_enabled(conn, ALPHA, catalogue, "nobody", True, by="ann")
        for wanted, sentence in (
            (Threshold(MEANS, "1.1", 1.5), "lies in"),
            (Threshold(MEANS, "1.1", 0.5, "north", "PACS"), "not of both"),
            (Threshold(MEANS, "", 0.5), "name the version"),
        ):
            with pytest.raises(DeploymentRefused, match=sentence):
                deployments.set_threshold(conn, ALPHA, catalogue, wanted, by="ann")


def test_a_way_back_to_a_version_that_was_removed_is_refused(clinic: Clinic, catalogue: Catalogue) -> None:
    with clinic.database.transaction(ALPHA) as conn:
        books = Books(conn, catalogue)
        books.activate("1.1")
        books.activate("2.0")
        books.catalogue = Catalogue(tuple(one for one in catalogue.models if one.version != "1.1"))
        with pytest.raises(ModelVersionNotFound, match=r"no version '1\.1'"):
            books.roll_back()


def test_thresholds_are_set_changed_and_removed_and_each_is_audited(
    clinic: Clinic, catalogue: Catalogue
) -> None:
    with clinic.database.transaction(ALPHA) as conn:
        for wanted in (
            Threshold(MEANS, "1.1", 0.3, site="north"),
            Threshold(MEANS, "1.1", 0.4, site="north"),
        ):
            deployments.set_threshold(conn, ALPHA, catalogue, wanted, by="ann")
        assert deployments.list_thresholds(conn, ALPHA) == [wanted]
        for _ in range(2):
            deployments.set_threshold(conn, ALPHA, catalogue, wanted, remove=True, by="bob")
        assert deployments.list_thresholds(conn, ALPHA) == []
        assert Books(conn, catalogue).history() == [
            "bob: threshold removed 1.1, site north",
            "ann: threshold 1.1, 0.4, site north",
            "ann: threshold 1.1, 0.3, site north",
        ]


def test_a_tenant_sees_and_changes_its_own_alone(clinic: Clinic, catalogue: Catalogue) -> None:
    with clinic.database.transaction(ALPHA) as conn:
        Books(conn, catalogue).activate("1.1")
        deployments.set_threshold(conn, ALPHA, catalogue, Threshold(MEANS, "1.1", 0.3), by="ann")
        deployments.set_enabled(conn, ALPHA, catalogue, MEANS, True, by="ann")
        deployments.set_enabled(conn, ALPHA, catalogue, "lung_nodule_ct", False, by="ann")
    with clinic.database.transaction(BETA) as conn:
        assert deployments.list_deployments(conn, ALPHA) == {} == deployments.list_deployments(conn, BETA)
        assert deployments.list_thresholds(conn, ALPHA) == []
        assert deployments.history(conn, BETA, MEANS) == []
        conn.execute("SELECT set_tenant_models(%s, '{stolen}')", (ALPHA,))
    models = {row["tenant"]: row["models"] for row in clinic.rows("SELECT tenant, models FROM tenant")}
    assert models == {ALPHA: [MEANS], BETA: ["lung_nodule_ct"]}


def test_a_version_that_somebody_uses_is_told_with_who_uses_it(clinic: Clinic, catalogue: Catalogue) -> None:
    with clinic.database.transaction(ALPHA) as conn:
        books = Books(conn, catalogue)
        books.activate("1.1")
        books.canary("2.0", 10)
    with clinic.database.transaction(BETA) as conn:
        deployments.set_enabled(conn, BETA, catalogue, MEANS, True, by="ann")

    def users(version: str) -> list[str]:
        return users_of(clinic.owner, catalogue, MEANS, version)

    assert users("1.1") == ["tenant alpha: active"]
    gone = Catalogue(tuple(one for one in catalogue.models if one.version != "2.0"))
    assert missing_versions(clinic.owner, gone) == ["tenant alpha: means 2.0"]
    assert missing_versions(clinic.owner, catalogue) == []
    assert users("2.0") == ["tenant alpha: canary of 10 %"]
    assert users("1.0") == ["tenant beta: the default version, and the model is enabled"]
    study = '[{"model": "means", "model_version": "2.0"}]'
    clinic.owner.execute(
        "INSERT INTO study (tenant, study_instance_uid, ae_title, status, route) VALUES (%s, '1.2', 'PACS', %s, %s)",
        (BETA, "routed", study),
    )
    assert users("2.0") == ["tenant alpha: canary of 10 %", "tenant beta: 1 unfinished studies"]
    clinic.owner.execute("UPDATE study SET status = 'delivered'")
    assert users("2.0") == ["tenant alpha: canary of 10 %"]
