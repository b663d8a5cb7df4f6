"""Erasure of a study and of a tenant: what goes, what stays, what refuses, and that a restore erases again."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from pipeline import audit, store
from pipeline.protection import erase
from pipeline.protection.erase import ErasurePlan
from pipeline.protection.erase_objects import (
    read_register,
    remove_copies,
    remove_objects,
    replay_erasures,
    write_register,
)
from pipeline.protection.errors import ErasureNotConfirmed, ErasureRefused, KeyShredded, RegisterDamaged
from pipeline.retention import place_hold, release_hold
from pipeline.status import StudyStatus
from storage.folder_store import FolderStore
from tests.pipeline.protection.erase_site import ALPHA, BETA, FOLDER, PATIENT, UID, EraseSite, aside, now


@pytest.fixture
def site(clinic: Any, tmp_path: Path) -> EraseSite:
    return EraseSite(clinic, tmp_path)


def test_of_an_erased_study_no_row_no_object_and_no_key_is_left(site: EraseSite) -> None:
    study_id = site.add_study(UID, FOLDER, PATIENT)
    other_id = site.add_study("1.2.840.99.8.1", "cd/" + "cd" * 32, ("ANDERS^A", "PID-2", "ACC-2"))
    for word in (*PATIENT, UID):
        assert site.rows_that_say(word), "else the test proves nothing"
    key = site.keyring.sealing_key(ALPHA, f"study/{study_id}")

    erasure = site.erase(study_id)
    assert remove_objects(site.clinic.database, site.store, now=now()) == 1

    for word in (*PATIENT, UID):
        assert site.rows_that_say(word) == []
    mine = [one for one in site.object_keys() if str(study_id) in one or FOLDER in one or aside(UID) in one]
    assert mine == []
    assert len([one for one in site.object_keys() if str(other_id) in one or "cdcd" in one]) == 4
    assert f"instances/quarantine/{aside('1.2.840.99.8.1')}.dcm" in site.object_keys()
    site.keyring.forget()
    with pytest.raises(KeyShredded):
        site.keyring.opening_key(ALPHA, key.id)
    with site.clinic.database.transaction(ALPHA) as conn:
        study = store.get_study(conn, ALPHA, study_id)
        assert (study.status, study.header, study.route) == (StudyStatus.ERASED, {}, [])
        assert [one["event"] for one in store.study_events(conn, ALPHA, study_id)] == ["study_erased"]
        assert store.get_study(conn, ALPHA, other_id).header["patient_id"] == "PID-2"
        with pytest.raises(ErasureRefused, match="before"):
            erase.plan_study(conn, ALPHA, study_id)
    assert audit.find_problems(site.clinic.owner) == []
    (event,) = site.clinic.rows("SELECT * FROM audit_event WHERE action = 'study_erased'")
    assert event["detail"] == {
        "by": "lin", "erasure": str(erasure.id), "reason": "request 12", "study": str(study_id),
    }  # fmt: skip


def test_images_that_come_again_are_a_new_study_and_stay(site: EraseSite) -> None:
    study_id = site.add_study(UID, FOLDER, PATIENT)
    site.erase(study_id)
    again = site.add_study(UID, FOLDER, PATIENT)
    assert again != study_id
    remove_objects(site.clinic.database, site.store, now=now())
    assert len([one for one in site.object_keys() if FOLDER in one]) == 2
    assert not [one for one in site.object_keys() if str(study_id) in one]
    with site.clinic.database.transaction(ALPHA) as conn:
        assert store.get_study(conn, ALPHA, again).header["patient_id"] == PATIENT[1]


def test_an_object_without_a_row_that_is_just_arriving_is_looked_at_again_later(site: EraseSite) -> None:
    study_id = site.add_study(UID, FOLDER, PATIENT)
    site.erase(study_id)
    site.sealed.put(f"instances/{FOLDER}/3.dcm", site.source, "")
    assert remove_objects(site.clinic.database, site.store, now=now()) == 0
    assert [one for one in site.object_keys() if FOLDER in one] == [f"instances/{FOLDER}/3.dcm"]
    assert remove_objects(site.clinic.database, site.store, now=now() + timedelta(minutes=11)) == 1
    assert [one for one in site.object_keys() if FOLDER in one] == []


def test_a_study_on_its_path_and_a_code_of_another_moment_are_refused(site: EraseSite) -> None:
    study_id = site.add_study(UID, FOLDER, PATIENT)
    with site.owner() as conn:
        before = erase.plan_study(conn, ALPHA, study_id)
    assert (before.rows["instance"], before.rows["quarantined_instance"]) == (2, 1)
    assert before.keys == 3
    site.clinic.owner.execute("DELETE FROM delivery")
    with site.owner() as conn:
        plan = erase.plan_study(conn, ALPHA, study_id)
        with pytest.raises(ErasureNotConfirmed, match=plan.code):
            erase.erase(conn, plan, before.code, reason="r", by="lin", now=now())
    site.clinic.owner.execute("UPDATE study SET status = 'routed'")
    with site.owner() as conn:
        with pytest.raises(ErasureRefused, match="cancel"):
            erase.plan_study(conn, ALPHA, study_id)
        with pytest.raises(ErasureRefused, match="1 studies of alpha"):
            erase.plan_tenant(conn, ALPHA)


def test_what_a_legal_hold_keeps_is_not_erased_until_it_is_released(site: EraseSite) -> None:
    study_id = site.add_study(UID, FOLDER, PATIENT)
    other_id = site.add_study("1.2.840.99.8.1", "cd/" + "cd" * 32, ("ANDERS^A", "PID-2", "ACC-2"))
    with site.owner() as conn:
        hold = place_hold(conn, ALPHA, patient_id=PATIENT[1], reason="court", by="li", now=now())
        for plan in (lambda: erase.plan_study(conn, ALPHA, study_id), lambda: erase.plan_tenant(conn, ALPHA)):
            with pytest.raises(ErasureRefused, match=f"legal hold {hold} keeps it"):
                plan()
        erase.plan_study(conn, ALPHA, other_id)
        release_hold(conn, ALPHA, hold, reason="closed", by="li", now=now())
    site.erase(study_id)
    for word in (*PATIENT, UID):
        assert site.rows_that_say(word) == []


def test_a_tenant_goes_whole_and_its_neighbour_stays(site: EraseSite) -> None:
    site.add_study(UID, FOLDER, PATIENT)
    beta = site.rows_of(BETA)
    site.erase(None)
    remove_objects(site.clinic.database, site.store, now=now())
    for word in (*PATIENT, UID):
        assert site.rows_that_say(word) == []
    assert [one for one in site.object_keys() if not one.startswith("erasures/")] == []
    assert set(site.rows_of(ALPHA)) == {
        "tenant",
        "audit_event",
        "erasure",
        "erasure_scope",
        "tenant_key",
        "data_key",
    }
    assert site.clinic.rows("SELECT 1 FROM data_key WHERE wrapped IS NOT NULL") == []
    assert site.rows_of(BETA) == beta


def test_a_restore_to_an_earlier_instant_erases_again(site: EraseSite, tmp_path: Path) -> None:
    """The register lies with the objects; the rows and files of the study have come back from a backup."""
    study_id = site.add_study(UID, FOLDER, PATIENT)
    lines = {
        table: [row["line"] for row in site.clinic.rows(f"SELECT to_jsonb(one) AS line FROM {table} one")]
        for table in ("association", "arrival", "instance", "quarantined_instance")
    }
    dump = {table: site.clinic.rows(f"SELECT * FROM {table}") for table in ("study", "data_key")}
    site.erase(study_id)
    remove_objects(site.clinic.database, site.store, now=now())
    owner = site.clinic.owner
    owner.execute("DELETE FROM erasure_scope")
    owner.execute("DELETE FROM erasure")
    owner.execute(
        """UPDATE study SET status = 'delivered', study_instance_uid = %s, header = %s WHERE id = %s""",
        (UID, Jsonb(dump["study"][0]["header"]), study_id),
    )
    for row in dump["data_key"]:
        owner.execute(
            "UPDATE data_key SET wrapped = %s, shredded_at = NULL, retired_at = NULL WHERE id = %s",
            (row["wrapped"], row["id"]),
        )
    for table, rows in lines.items():
        for row in rows:
            owner.execute(
                f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM jsonb_populate_record(null::{table}, %s) "
                "ON CONFLICT DO NOTHING",
                (Jsonb(row),),
            )
    site.sealed.put(f"results/{study_id}/1/report.json", site.source, "")
    assert site.rows_that_say(PATIENT[1]) == ["study"]

    register = read_register(site.store)
    assert replay_erasures(owner, register) == 1
    assert replay_erasures(owner, register) == 0
    remove_objects(site.clinic.database, site.store, now=now())
    assert site.rows_that_say(PATIENT[1]) == []
    assert [one for one in site.object_keys() if str(study_id) in one] == []
    assert site.clinic.rows("SELECT 1 FROM data_key WHERE wrapped IS NOT NULL") == []


def test_copies_on_a_node_go_too(site: EraseSite, tmp_path: Path) -> None:
    study_id = site.add_study(UID, FOLDER, PATIENT)
    node = FolderStore(tmp_path / "node")
    node.put(f"results/{study_id}/1/report.json", site.source, "")
    node.put(f"instances/{FOLDER}/1.dcm", site.source, "")
    erasure = site.erase(study_id)
    remove_copies(site.clinic.database, node, since=erasure.at, now=now())
    assert list(node.list()) == []


def test_what_is_no_entry_of_the_register_stops_a_restore(site: EraseSite) -> None:
    erasure = erase.Erasure(UUID(int=1), ALPHA, UUID(int=2), "r", "lin", now())
    write_register(site.store, erasure)
    assert read_register(site.store) == [erasure]
    (site.store.root / "erasures" / "x.json").write_bytes(os.urandom(10))
    with pytest.raises(RegisterDamaged, match=r"erasures/x\.json"):
        read_register(site.store)


def test_the_code_of_a_plan_depends_on_all_that_would_go() -> None:
    plans = [
        ErasurePlan(ALPHA, UUID(int=1), 1, {"instance": 1}, 1),
        ErasurePlan(BETA, UUID(int=1), 1, {"instance": 1}, 1),
        ErasurePlan(ALPHA, UUID(int=2), 1, {"instance": 1}, 1),
        ErasurePlan(ALPHA, UUID(int=1), 1, {"instance": 2}, 1),
        ErasurePlan(ALPHA, UUID(int=1), 1, {"instance": 1}, 2),
    ]
    assert len({plan.code for plan in plans}) == len(plans)
