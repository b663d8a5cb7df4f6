"""Objects sealed anew: after a rotation, after sealing was switched on, and while others read, write and erase."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.protection import rotation
from pipeline.protection.keyring import Keyring
from pipeline.protection.master_keys import load_master_keys, make_master_key
from pipeline.protection.seal_anew import SealAnew
from pipeline.protection.sealed_store import SealedStore
from pipeline.protection.sealed_stream import key_id_of
from storage.folder_store import FolderStore
from tests.pipeline.conftest import make_instance

ALPHA = "alpha"
SCOPE = "study/s-1"
KEY = "results/s-1/1/report.json"


def later(hours: float = 2.0) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


class Site:
    def __init__(self, clinic: Any, folder: Path) -> None:
        self.clinic = clinic
        self.folder = folder
        self.inner = FolderStore(folder / "objects")
        make_master_key(folder / "master.key")
        masters = load_master_keys([folder / "master.key"])
        assert masters is not None
        self.masters = masters
        self.keyring = Keyring(clinic.database, masters)
        self.store = SealedStore(self.inner, self.keyring, ALPHA, folder / "scratch")
        self.anew = SealAnew(clinic.database, self.keyring, self.inner, folder / "scratch")

    def put(self, key: str, content: bytes, store: Any = None) -> None:
        path = self.folder / "source"
        path.write_bytes(content)
        (store or self.store).put(key, path, "")

    def get(self, key: str) -> bytes:
        path = self.folder / f"got-{threading.get_ident()}"
        path.unlink(missing_ok=True)
        self.store.get(key, path)
        return path.read_bytes()

    def rotate(self) -> None:
        with self.clinic.database.transaction(ALPHA) as conn:
            rotation.rotate_tenant_key(conn, self.masters, ALPHA)
            rotation.retire_data_keys(conn, ALPHA)
        self.keyring.forget()

    def keys_left(self) -> int:
        (row,) = self.clinic.rows("SELECT count(*) AS n FROM data_key WHERE wrapped IS NOT NULL")
        return int(row["n"])

    def key_of(self, key: str) -> object:
        return key_id_of((self.inner.root / key).read_bytes()[:64])


@pytest.fixture
def site(clinic: Any, tmp_path: Path) -> Site:
    return Site(clinic, tmp_path)


def test_after_a_rotation_objects_are_sealed_anew_and_the_former_key_is_destroyed(site: Site) -> None:
    site.put(KEY, b"one" * 100_000)
    before = site.key_of(KEY)
    site.rotate()
    assert site.get(KEY) == b"one" * 100_000
    assert site.anew.look_after(ALPHA, now=later(0.5)) == 0, "a process may still remember the former key"
    assert site.anew.look_after(ALPHA, now=later()) == 1
    assert site.key_of(KEY) != before
    assert site.get(KEY) == b"one" * 100_000
    assert site.keys_left() == 1
    assert site.anew.look_after(ALPHA, now=later()) == 0
    assert list((site.folder / "scratch").iterdir()) == []


def test_what_was_plain_before_there_were_keys_is_sealed(site: Site) -> None:
    site.put(KEY, b"MUSTERMANN", site.inner)
    assert not site.anew.seal_scope(ALPHA, SCOPE, now=later(0)), "it may be at work just now"
    assert site.anew.seal_scope(ALPHA, SCOPE, now=later())
    assert b"MUSTERMANN" not in (site.inner.root / KEY).read_bytes()
    assert site.get(KEY) == b"MUSTERMANN"


def test_of_a_whole_tenant_everything_is_taken_whatever_kind_of_object_it_is(site: Site) -> None:
    folder = "ab/" + "ab" * 32
    received = make_instance(location=f"{folder}/1.dcm")
    site.clinic.receive(received)
    site.clinic.receive(make_instance(location=f"{folder}/2.dcm", blake3="2" * 64))  # put aside
    study = site.clinic.study(received)
    keys = [f"instances/{folder}/1.dcm", "instances/quarantine/2.dcm", f"results/{study.id}/1/report.json"]
    for key in keys:
        site.put(key, b"MUSTERMANN", site.inner)
    assert site.anew.seal_everything(ALPHA, now=later(0)) == (0, 3)
    assert site.anew.seal_everything(ALPHA, now=later()) == (3, 0)
    for key in keys:
        assert (site.inner.root / key).read_bytes().startswith(b"RADSEAL")
        assert site.get(key) == b"MUSTERMANN"


def test_a_key_stays_as_long_as_anything_needs_it(site: Site) -> None:
    site.put("work/s-1/1/volume.npy", b"v")
    site.put(KEY, b"good")
    site.put("results/s-1/1/damaged", b"damaged")
    damaged = site.inner.root / "results/s-1/1/damaged"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    site.rotate()
    assert site.anew.look_after(ALPHA, now=later()) == 0
    assert site.keys_left() == 2
    assert (site.get(KEY), site.get("work/s-1/1/volume.npy")) == (b"good", b"v")
    site.inner.delete(["results/s-1/1/damaged", "work/s-1/1/volume.npy"])
    assert site.anew.look_after(ALPHA, now=later()) == 1
    assert site.keys_left() == 1


def test_what_is_erased_while_it_is_sealed_anew_does_not_come_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.put(KEY, b"one")
    site.rotate()
    put = site.inner.put

    def erased_before(key: str, path: Path, blake3: str) -> str:
        site.clinic.owner.execute(
            "UPDATE data_key SET wrapped = NULL, shredded_at = now(), retired_at = coalesce(retired_at, now())"
        )
        site.inner.delete([key])
        return put(key, path, blake3)

    monkeypatch.setattr(site.inner, "put", erased_before)
    site.anew.look_after(ALPHA, now=later())
    assert list(site.inner.list()) == []


def test_under_load_everything_stays_readable_at_every_moment(site: Site) -> None:
    """Three write and read without a pause while keys are rotated and objects sealed anew, round after round."""
    stop, problems, reads = threading.Event(), [], [0, 0, 0]

    def work(number: int) -> None:
        content: dict[str, bytes] = {}
        own = Keyring(site.clinic.database, site.masters)
        store = SealedStore(site.inner, own, ALPHA, site.folder / "scratch")
        source, target = site.folder / f"in-{number}", site.folder / f"out-{number}"
        try:
            while not stop.is_set():
                if len(content) < 6:
                    key = f"results/s-{len(content) % 2}/{number}/{len(content)}"
                    content[key] = f"{number} {len(content)}".encode() * 1000
                    source.write_bytes(content[key])
                    store.put(key, source, "")
                for known in content:
                    store.get(known, target)
                    assert target.read_bytes() == content[known]
                    target.unlink()
                    reads[number] += 1
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    rounds, until = 0, time.monotonic() + 60
    while rounds < 3 or (min(reads) < 5 and not problems and time.monotonic() < until):
        rounds += 1
        site.rotate()
        # Retired long ago, as far as this pass is concerned; the writers' memory of keys is real all the same.
        for scope in ("study/s-0", "study/s-1"):
            site.anew.seal_scope(ALPHA, scope, now=later())
    stop.set()
    for thread in threads:
        thread.join()
    assert problems == []
    assert min(reads) >= 5
    site.rotate()
    assert site.anew.look_after(ALPHA, now=later()) == 2
    assert site.keys_left() == 2
