"""Envelope keys: what wraps what, rotation while others seal, and secrets in rows."""

from __future__ import annotations

import functools
import os
import threading
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pipeline.archives import archive_of
from pipeline.database import Database
from pipeline.peers import set_query_secret
from pipeline.protection import rotation
from pipeline.protection.errors import (
    DataKeyUnknown,
    KeyShredded,
    MasterKeyMissing,
    SealedWithoutKeys,
    WrappedKeyDamaged,
)
from pipeline.protection.keyring import Keyring, sealing_key
from pipeline.protection.master_keys import MasterKeys, load_master_keys, make_master_key
from pipeline.protection.sealed_stream import DataKey, seal, unseal
from pipeline.protection.sealed_text import seal_columns_anew

ALPHA, BETA = "alpha", "beta"


def masters_of(folder: Path, *names: str) -> MasterKeys:
    """The master keys of these files, made where they are missing."""
    for name in names:
        if not (folder / name).exists():
            make_master_key(folder / name)
    found = load_master_keys([folder / name for name in names])
    assert found is not None
    return found


@pytest.fixture
def masters(tmp_path: Path) -> MasterKeys:
    return masters_of(tmp_path, "first.key")


@pytest.fixture
def keyring(clinic: Any, masters: MasterKeys) -> Keyring:
    return Keyring(clinic.database, masters)


def rewrap(database: Database, masters: MasterKeys, tenant: str = ALPHA) -> int:
    with database.transaction(tenant) as conn:
        count = rotation.rewrap_tenant_keys(conn, masters, tenant)
    wrapped = 1
    while wrapped:
        with database.transaction(tenant) as conn:
            wrapped = rotation.rewrap_data_keys(conn, masters, tenant)
        count += wrapped
    return count


class TestDataKeys:
    def test_each_scope_of_each_tenant_has_one_key_which_opens_by_its_id(
        self, clinic: Any, keyring: Keyring, masters: MasterKeys
    ) -> None:
        one = keyring.sealing_key(ALPHA, "results/1")
        keys = [
            keyring.sealing_key(ALPHA, "results/2"),
            keyring.sealing_key(BETA, "results/1"),
            one,
        ]
        assert len({key.key for key in keys}) == 3
        another_process = Keyring(clinic.database, masters)
        assert another_process.sealing_key(ALPHA, "results/1") == one
        assert another_process.opening_key(ALPHA, one.id) == one.key

    def test_a_tenant_cannot_open_what_is_anothers(self, keyring: Keyring) -> None:
        key = keyring.sealing_key(ALPHA, "results/1")
        with pytest.raises(DataKeyUnknown):
            keyring.opening_key(BETA, key.id)

    def test_many_who_seal_first_at_the_same_time_agree_on_one_key(
        self, clinic: Any, masters: MasterKeys
    ) -> None:
        found: list[DataKey] = []
        barrier = threading.Barrier(6)

        def ask() -> None:
            barrier.wait()
            found.append(Keyring(clinic.database, masters).sealing_key(ALPHA, "results/1"))

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 6
        assert len({key.id for key in found}) == 1

    def test_the_database_alone_opens_nothing(self, clinic: Any, keyring: Keyring, tmp_path: Path) -> None:
        key = keyring.sealing_key(ALPHA, "results/1")
        for row in clinic.rows("SELECT wrapped FROM data_key UNION ALL SELECT wrapped FROM tenant_key"):
            assert key.key not in bytes(row["wrapped"])
        stranger = Keyring(clinic.database, masters_of(tmp_path, "stranger.key"))
        with pytest.raises(MasterKeyMissing, match="add its file again"):
            stranger.opening_key(ALPHA, key.id)

    def test_a_wrapped_key_in_the_row_of_another_does_not_open(self, clinic: Any, keyring: Keyring) -> None:
        one, other = (keyring.sealing_key(ALPHA, scope) for scope in ("results/1", "results/2"))
        clinic.owner.execute(
            "UPDATE data_key SET wrapped = (SELECT wrapped FROM data_key WHERE id = %s) WHERE id = %s",
            (one.id, other.id),
        )
        keyring.forget()
        with pytest.raises(WrappedKeyDamaged):
            keyring.opening_key(ALPHA, other.id)

    def test_a_shredded_key_is_gone_for_all_and_known_to_be(self, clinic: Any, keyring: Keyring) -> None:
        key = keyring.sealing_key(ALPHA, "results/1")
        assert keyring.still_open(ALPHA, [key.id])
        clinic.owner.execute(
            "UPDATE data_key SET wrapped = NULL, retired_at = now(), shredded_at = now() WHERE id = %s",
            (key.id,),
        )
        assert not keyring.still_open(ALPHA, [key.id])
        with pytest.raises(KeyShredded, match="erased"):
            keyring.opening_key(ALPHA, key.id)
        assert keyring.sealing_key(ALPHA, "results/1").id != key.id

    def test_what_is_remembered_is_forgotten_in_time(self, clinic: Any, masters: MasterKeys) -> None:
        now = 0.0
        keyring = Keyring(clinic.database, masters, clock=lambda: now)
        key = keyring.sealing_key(ALPHA, "results/1")
        clinic.owner.execute("UPDATE data_key SET retired_at = now()")
        assert keyring.sealing_key(ALPHA, "results/1").id == key.id
        now = 31.0
        assert keyring.sealing_key(ALPHA, "results/1").id != key.id


class TestRotation:
    def test_of_the_master_key_wraps_the_keys_of_tenants_and_touches_no_data(
        self, clinic: Any, keyring: Keyring, tmp_path: Path
    ) -> None:
        key = keyring.sealing_key(ALPHA, "results/1")
        both = masters_of(tmp_path, "second.key", "first.key")
        assert Keyring(clinic.database, both).opening_key(ALPHA, key.id) == key.key
        assert rewrap(clinic.database, both) == 1
        assert rewrap(clinic.database, both) == 0
        alone = masters_of(tmp_path, "second.key")
        assert Keyring(clinic.database, alone).opening_key(ALPHA, key.id) == key.key

    def test_of_a_tenant_key_destroys_the_former_one_when_nothing_hangs_on_it(
        self, clinic: Any, keyring: Keyring, masters: MasterKeys
    ) -> None:
        keys = [keyring.sealing_key(ALPHA, f"results/{number}") for number in range(5)]
        with clinic.database.transaction(ALPHA) as conn:
            rotation.rotate_tenant_key(conn, masters, ALPHA)
            assert rotation.count_keys(conn, ALPHA, masters.current_id).behind == 5
        assert rewrap(clinic.database, masters) == 5
        with clinic.database.transaction(ALPHA) as conn:
            counts = rotation.count_keys(conn, ALPHA, masters.current_id)
        assert (counts.tenant_keys, counts.behind, counts.data_keys) == (1, 0, 5)
        keyring.forget()
        assert [keyring.opening_key(ALPHA, key.id) for key in keys] == [key.key for key in keys]

    def test_under_load_everything_that_was_sealed_opens_at_every_moment(
        self, clinic: Any, masters: MasterKeys, tmp_path: Path
    ) -> None:
        """Four seal and open without a pause while master, tenant's and data keys are rotated again and again."""
        both = masters_of(tmp_path, "second.key", "first.key")
        stop = threading.Event()
        problems: list[BaseException] = []
        counts: list[int] = []

        def work(number: int) -> None:
            sealed: list[tuple[str, bytes, bytes]] = []
            try:
                while not stop.is_set():
                    keyring = Keyring(clinic.database, both)  # remembers nothing
                    place = f"results/{number}/{len(sealed)}"
                    content = os.urandom(50)
                    key = keyring.sealing_key(ALPHA, f"results/{len(sealed) % 7}")
                    sealed.append((place, content, b"".join(seal([content], key, place))))
                    assert keyring.still_open(ALPHA, [key.id])
                    find_key = functools.partial(keyring.opening_key, ALPHA)
                    for place, content, whole in sealed[-5:] + sealed[:2]:
                        assert b"".join(unseal([whole], find_key, place)) == content
            except BaseException as error:
                problems.append(error)
            counts.append(len(sealed))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for round_number in range(12):
            with clinic.database.transaction(ALPHA) as conn:
                rotation.rotate_tenant_key(conn, both if round_number % 2 else masters, ALPHA)
                rotation.retire_data_keys(conn, ALPHA)
            rewrap(clinic.database, both)
        stop.set()
        for thread in threads:
            thread.join()
        assert problems == []
        assert min(counts) >= 5
        rewrap(clinic.database, both)
        (row,) = clinic.rows("SELECT count(*) AS n FROM tenant_key WHERE wrapped IS NOT NULL")
        assert row["n"] == 1


class TestSecretsInRows:
    def test_the_password_of_an_archive_is_sealed_and_found_again(
        self, clinic: Any, masters: MasterKeys
    ) -> None:
        clinic.owner.execute("UPDATE peer SET query_kind = 'dicomweb', query_url = 'https://pacs.example'")
        with clinic.database.transaction(ALPHA) as conn:
            set_query_secret(conn, ALPHA, "PACS", "open sesame", masters)
        (row,) = clinic.rows("SELECT query_secret FROM peer WHERE tenant = %s", ALPHA)
        assert "sesame" not in row["query_secret"]
        with clinic.database.transaction(ALPHA) as conn:
            archive = archive_of(conn, ALPHA, "PACS", masters)
            assert archive is not None
            assert "open sesame" in vars(archive.node).values()
            with pytest.raises(SealedWithoutKeys, match="RADMETER_MASTER_KEYS"):
                archive_of(conn, ALPHA, "PACS")

    def test_one_that_was_stored_plain_stays_readable_and_is_sealed_by_a_rewrap(
        self, clinic: Any, masters: MasterKeys
    ) -> None:
        clinic.owner.execute("UPDATE peer SET query_kind = 'dicomweb', query_url = 'https://pacs.example'")
        with clinic.database.transaction(ALPHA) as conn:
            set_query_secret(conn, ALPHA, "PACS", "open sesame")
            assert seal_columns_anew(conn, masters, ALPHA) == 1
            assert seal_columns_anew(conn, masters, ALPHA) == 0
            rotation.retire_data_keys(conn, ALPHA)
            assert seal_columns_anew(conn, masters, ALPHA) == 1
            archive = archive_of(conn, ALPHA, "PACS", masters)
            assert archive is not None
            assert "open sesame" in vars(archive.node).values()

    def test_one_that_is_moved_to_another_peer_does_not_open(self, clinic: Any, masters: MasterKeys) -> None:
        with clinic.database.transaction(ALPHA) as conn:
            set_query_secret(conn, ALPHA, "PACS", "open sesame", masters)
        clinic.owner.execute(
            """UPDATE peer SET ae_title = 'EVIL', query_kind = 'dicomweb', query_url = 'https://evil.example'
               WHERE tenant = %s""",
            (ALPHA,),
        )
        with clinic.database.transaction(ALPHA) as conn, pytest.raises(WrappedKeyDamaged):
            archive_of(conn, ALPHA, "EVIL", masters)

    def test_a_key_id_that_is_none_is_a_damaged_value(self, clinic: Any, masters: MasterKeys) -> None:
        clinic.owner.execute("UPDATE peer SET query_kind = 'dimse', query_secret = 'sealed:1:x:y'")
        with clinic.database.transaction(ALPHA) as conn, pytest.raises(Exception, match="damaged"):
            archive_of(conn, ALPHA, "PACS", masters)


def test_a_scope_is_asked_for_in_the_callers_transaction_too(clinic: Any, masters: MasterKeys) -> None:
    with clinic.database.transaction(ALPHA) as conn:
        one = sealing_key(conn, masters, ALPHA, "secrets")
        assert sealing_key(conn, masters, ALPHA, "secrets") == one
        assert isinstance(one.id, UUID)
