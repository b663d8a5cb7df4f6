"""The same pixels under new UIDs are noticed within a tenant, and only there."""

from __future__ import annotations

import numpy as np

from pipeline import store
from pipeline.same_pixels import note_same_pixels, pixel_digest
from pipeline.store import StudyRecord
from study.volume import Volume
from tests.pipeline.conftest import ALPHA, BETA, Clinic, make_instance


def volume(voxels: np.ndarray, series: str = "1.2.3") -> Volume:
    count = voxels.shape[0]
    return Volume(
        voxels, np.eye(4), tuple(f"{series}.{n}" for n in range(count)), (1,) * count, series, "1.2.9"
    )


VOXELS = np.arange(24, dtype=np.int16).reshape(2, 3, 4)


def test_the_digest_is_of_the_pixels_and_their_shape_alone() -> None:
    same = pixel_digest(volume(VOXELS.copy(), "9.9.9"))
    assert pixel_digest(volume(VOXELS)) == same
    assert pixel_digest(volume(np.asfortranarray(VOXELS))) == same
    assert pixel_digest(volume(VOXELS.reshape(2, 4, 3))) != same
    changed = VOXELS.copy()
    changed[0, 0, 0] += 1
    assert pixel_digest(volume(changed)) != same


def received(clinic: Clinic, uid: str, tenant: str = ALPHA) -> StudyRecord:
    clinic.receive(make_instance(uid), tenant)
    return clinic.study(make_instance(uid), tenant)


def found(clinic: Clinic, study: StudyRecord) -> list[str]:
    with clinic.database.transaction(study.tenant) as conn:
        events = store.study_events(conn, study.tenant, study.id)
    return [one["detail"]["study"] for one in events if one["event"] == "same_pixels_found"]


def note(clinic: Clinic, study: StudyRecord, **digests: str) -> None:
    with clinic.database.transaction(study.tenant) as conn:
        note_same_pixels(conn, study, digests)


def test_another_study_with_one_of_the_series_is_named(clinic: Clinic) -> None:
    first, second, third = (received(clinic, f"1.2.{n}") for n in (1, 2, 3))
    note(clinic, first, lung="aa", bone="bb")
    note(clinic, second, lung="cc")
    note(clinic, third, lung="dd", bone="aa")
    assert found(clinic, first) == found(clinic, second) == []
    assert found(clinic, third) == [str(first.id)]


def test_a_new_revision_is_not_another_study_and_another_tenant_is_nobodys_business(clinic: Clinic) -> None:
    own, foreign = received(clinic, "1.2.1"), received(clinic, "1.2.2", BETA)
    note(clinic, foreign, lung="aa")
    note(clinic, own, lung="aa")
    note(clinic, own, lung="aa")
    assert found(clinic, own) == []
