"""Books and object store compared; an installation that grows from its folder into a bucket."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.database import Connection
from pipeline.objects_check import CheckedObjects, check_objects
from server.installation import owner_connection
from storage.copy_objects import Copied, copy_objects
from storage.folder_store import FolderStore
from storage.object_store import ObjectStore
from tests.pipeline.conftest import ALPHA, BETA, Clinic, make_instance
from tests.s3_server import Bucket


def check(clinic: Clinic, store: ObjectStore) -> CheckedObjects:
    def connect(tenant: str) -> Connection:
        return owner_connection(clinic.database.url, tenant)

    return check_objects([ALPHA, BETA], connect, store)


def write(root: Path, key: str, content: bytes) -> None:
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def grown(clinic: Clinic, tmp_path: Path) -> FolderStore:
    """The data folder of a clinic with a study, its result and its work, and another's work that was left behind."""
    received = make_instance()
    clinic.receive(received)
    study = clinic.study(received)
    write(tmp_path, f"instances/{received.location}", b"image")
    write(tmp_path, "instances/incoming/0123/7.part", b"half")
    write(tmp_path, f"results/{study.id}/1/report.pdf", b"%PDF")
    write(tmp_path, f"work/{study.id}/1/study.json", b"{}")
    write(tmp_path, f"work/{study.id}/1/.study.json.12", b"{")
    write(tmp_path, "work/00000000-0000-0000-0000-000000000001/1/volume.npy", b"nobody's")
    return FolderStore(tmp_path)


def test_what_lies_in_the_folder_is_copied_once_and_then_known(
    clinic: Clinic, grown: FolderStore, bucket: Bucket, tmp_path: Path
) -> None:
    target = bucket.store(request_s=10.0)
    assert copy_objects(grown, target) == Copied(4, 0, 5 + 4 + 2 + 8)
    assert copy_objects(grown, target) == Copied(0, 4, 0)
    (work,) = (one.key for one in grown.list("work") if one.key.endswith("study.json"))
    write(tmp_path, work, b"[]")  # of the same size, and not the same
    assert copy_objects(grown, target) == Copied(1, 3, 2)
    assert target.digest(work) == grown.digest(work)
    assert check(clinic, target).is_sound


def test_what_a_row_names_and_the_store_lacks_is_said(clinic: Clinic, grown: FolderStore) -> None:
    sound = check(clinic, grown)
    assert (sound.named, sound.problems) == (1, [])
    assert sound.left_over == ["work/00000000-0000-0000-0000-000000000001/1/volume.npy"]
    (lost,) = (one.key for one in grown.list("instances") if one.key.endswith(".dcm"))
    grown.delete([lost])
    assert check(clinic, grown).problems == [f"missing: {lost}"]
