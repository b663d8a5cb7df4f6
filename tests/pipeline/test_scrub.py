"""A flipped bit is found, told once, kept from models, and mended by sending the study again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline import store
from pipeline.errors import StudyFailed
from pipeline.scrub import Pace, Scrubbed, require_whole, rotten_files, scrub
from server.settings import Settings
from tests.pipeline.conftest import ALPHA, Clinic
from tests.server.backup_site import Site

FAST = Pace(1e12)
NOW = datetime.now(UTC)


@pytest.fixture
def site(clinic: Clinic, tmp_path: Path) -> Site:
    return Site(Settings(data_directory=tmp_path, database_url=clinic.database.url), clinic)


def look(site: Site, pace: Pace = FAST, naps: list[float] | None = None) -> Scrubbed:
    folders = site.clinic.services.folders
    return scrub(
        site.clinic.database, folders, ALPHA, pace, now=NOW, sleep=(naps if naps is not None else []).append
    )


def image_of(site: Site, study: int) -> Path:
    (row,) = site.clinic.rows(
        "SELECT location FROM instance JOIN study s ON s.id = study_id WHERE study_instance_uid = %s",
        f"1.2.{study}",
    )
    return site.settings.instances_directory / row["location"]


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.chmod(0o640)
    path.write_bytes(content)


def known(site: Site) -> list[tuple[object, object]]:
    with site.clinic.database.transaction(ALPHA) as conn:
        return [(one["kind"], one["found"]) for one in rotten_files(conn, ALPHA)]


def alarms(site: Site) -> int:
    return len(site.clinic.rows("SELECT 1 FROM audit_event WHERE action = 'object_rotten'"))


def test_one_flipped_bit_is_found_told_once_and_mended_by_sending_it_again(site: Site) -> None:
    for study in (1, 2):
        site.deliver(study)
    assert look(site) == Scrubbed(files=4, bytes=look(site).bytes)
    image = image_of(site, 1)
    flip_a_bit(image)
    assert look(site).rotten == 1
    assert (known(site), alarms(site)) == ([("instance", "rotten")], 1)
    assert not image.exists(), "it is set aside: nobody reads it"
    assert look(site).missing == 1
    assert alarms(site) == 1
    site.send(1)
    assert look(site) == Scrubbed(files=4, bytes=look(site).bytes)
    assert known(site) == []


def test_a_rotten_or_missing_result_is_found(site: Site) -> None:
    site.deliver(1)
    (result,) = site.settings.results_directory.rglob("*.sr.dcm")
    flip_a_bit(result)
    assert look(site).rotten == 1
    result.unlink()
    assert look(site).missing == 1
    assert known(site) == [("result", "rotten")]


def test_a_rotten_image_is_not_given_to_a_model(site: Site) -> None:
    study = site.assemble(1)
    with site.clinic.database.transaction(ALPHA) as conn:
        rows = store.instances(conn, ALPHA, study.id)
    require_whole(site.clinic.services, study, rows)
    flip_a_bit(image_of(site, 1))
    with pytest.raises(StudyFailed) as caught:
        require_whole(site.clinic.services, study, rows)
    assert caught.value.code == "IMAGES_DAMAGED"
    assert (known(site), alarms(site)) == ([("instance", "rotten")], 1)


def test_a_round_is_bounded_goes_on_where_it_stopped_and_keeps_its_pace(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.scrub._AT_ONCE", 2)
    for study in range(1, 6):
        site.send(study)
    naps: list[float] = []
    first = look(site, Pace(bytes_s=1000.0, bytes_max=1), naps)
    assert first.files == 2
    assert naps == [first.bytes / 1000]
    assert [look(site, Pace(1e12, 1)).files for _ in range(3)] == [2, 1, 2]
    (row,) = site.clinic.rows("SELECT * FROM scrub_position WHERE kind = 'instance'")
    assert row["finished_at"] == NOW


def test_what_a_policy_removed_is_not_missed(site: Site) -> None:
    from pipeline import retention
    from pipeline.retention_run import run_retention

    site.deliver(1)
    policy = retention.RetentionPolicy(images_days=1)
    with site.clinic.database.transaction(ALPHA) as conn:
        retention.set_policy(conn, ALPHA, policy, by="lin", now=NOW)
    folders = site.clinic.services.folders
    assert run_retention(site.clinic.database, folders, ALPHA, now=NOW + timedelta(days=2)).files == 1
    assert look(site).missing == 0
    assert known(site) == []
