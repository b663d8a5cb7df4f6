"""A store whose objects lie sealed: round trip, what lies in the folder, what was changed there, what was shredded."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blake3
import pytest

from pipeline.protection.keyring import Keyring
from pipeline.protection.master_keys import load_master_keys, make_master_key
from pipeline.protection.scopes import folders_of, scope_of
from pipeline.protection.sealed_store import ObjectErased, SealedStore
from storage.errors import ObjectDamaged
from storage.folder_store import FolderStore

ALPHA, BETA = "alpha", "beta"
FOLDER = f"instances/ab/{'ab' * 32}"
CONTENT = b"MUSTERMANN^ERIKA" * 40_000


@pytest.fixture
def inner(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "objects")


@pytest.fixture
def store_of(clinic: Any, inner: FolderStore, tmp_path: Path) -> Callable[[str], SealedStore]:
    make_master_key(tmp_path / "master.key")
    masters = load_master_keys([tmp_path / "master.key"])
    assert masters is not None
    keyring = Keyring(clinic.database, masters)
    return lambda tenant: SealedStore(inner, keyring, tenant, tmp_path / "scratch")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(CONTENT)
    return path


def test_what_lies_in_the_store_is_sealed_and_what_comes_out_is_plain(
    store_of: Callable[[str], SealedStore], inner: FolderStore, source: Path, tmp_path: Path
) -> None:
    store = store_of(ALPHA)
    keys = [f"{FOLDER}/{'1' * 64}.dcm", "results/a-b/1/report.pdf", "instances/quarantine/x.dcm"]
    for key in keys:
        store.put(key, source, "")
    for number, key in enumerate(keys):
        assert b"MUSTERMANN" not in (inner.root / key).read_bytes()
        found = store.get(key, tmp_path / f"{number}")
        assert (tmp_path / f"{number}").read_bytes() == CONTENT
        assert found.blake3 == store.digest(key) == blake3.blake3(CONTENT).hexdigest()
    assert sorted(one.key for one in store.list()) == sorted(keys)
    assert list((tmp_path / "scratch").iterdir()) == []


def test_an_object_that_was_stored_plain_before_is_read_as_it_is(
    store_of: Callable[[str], SealedStore], inner: FolderStore, source: Path, tmp_path: Path
) -> None:
    inner.put("results/a/1/x", source, "")
    store_of(ALPHA).get("results/a/1/x", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == CONTENT
    assert store_of(ALPHA).digest("results/a/1/x") == blake3.blake3(CONTENT).hexdigest()


def test_one_that_was_changed_or_moved_or_is_anothers_comes_out_as_nothing(
    store_of: Callable[[str], SealedStore], inner: FolderStore, source: Path, tmp_path: Path
) -> None:
    store, key, other = store_of(ALPHA), f"{FOLDER}/1.dcm", f"{FOLDER}/2.dcm"
    store.put(key, source, "")
    os.link(inner.root / key, inner.root / other)
    with pytest.raises(ObjectDamaged, match="another's place"):
        store.get(other, tmp_path / "out")
    with pytest.raises(OSError, match="no data key"):
        store_of(BETA).get(key, tmp_path / "out")
    whole = bytearray((inner.root / key).read_bytes())
    whole[len(whole) // 2] ^= 1
    (inner.root / key).write_bytes(whole)
    for ask in (lambda: store.get(key, tmp_path / "out"), lambda: store.digest(key)):
        with pytest.raises(ObjectDamaged, match="changed"):
            ask()
    assert not (tmp_path / "out").exists()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_shredded_object_says_that_it_is_erased_and_a_new_one_in_its_place_is_good(
    clinic: Any, store_of: Callable[[str], SealedStore], source: Path, tmp_path: Path
) -> None:
    store, key = store_of(ALPHA), f"{FOLDER}/1.dcm"
    store.put(key, source, "")
    clinic.owner.execute("UPDATE data_key SET wrapped = NULL, retired_at = now(), shredded_at = now()")
    # This process still remembers the shredded key, and yet what it stores now is never sealed with it.
    store.put(f"{FOLDER}/2.dcm", source, "")
    with pytest.raises(ObjectErased, match="erased"):
        store.get(key, tmp_path / "out")
    store.get(f"{FOLDER}/2.dcm", tmp_path / "out")


def test_every_object_belongs_to_a_scope_whose_folders_hold_it() -> None:
    for key in (
        f"{FOLDER}/1.dcm",
        "results/s/1/a.dcm",
        "work/s/1/deep/volume.npy",
        "instances/quarantine/1.dcm",
    ):
        assert any(f"{key}/".startswith(f"{folder}/") for folder in folders_of(scope_of(key)))
    assert scope_of("results/s/1/a") == scope_of("work/s/2/b")
    assert scope_of(f"{FOLDER}/1.dcm") != scope_of("instances/ab/other/1.dcm")
