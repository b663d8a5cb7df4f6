"""What both kinds of object store promise: whole objects under their keys, and errors that say what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import blake3
import pytest

from storage.address import open_store
from storage.errors import (
    BucketMissing,
    CredentialsRefused,
    ObjectDamaged,
    ObjectMissing,
    ObjectStoreError,
    PermissionMissing,
    StoreAddressInvalid,
    StoreFull,
    StoreUnreachable,
)
from storage.folder_store import FolderStore
from storage.object_store import ObjectStore
from storage.s3_store import PART_BYTES
from tests.conftest import ROOT
from tests.s3_server import REGION, Bucket, http_answer, s3_server
from tests.tls_files import Authority


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "folder":
        return FolderStore(tmp_path / "objects")
    bucket: Bucket = request.getfixturevalue("bucket")
    return bucket.store(request_s=20.0)


def put(store: ObjectStore, key: str, content: bytes, folder: Path) -> str:
    path = folder / "put.part"
    path.write_bytes(content)
    return store.put(key, path, blake3.blake3(content).hexdigest())


def get(store: ObjectStore, key: str, folder: Path) -> bytes:
    path = folder / f"got{time.monotonic_ns()}"
    store.get(key, path)
    return path.read_bytes()


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, 2 * PART_BYTES + 17])
def test_an_object_comes_back_as_it_was_put_whatever_its_size(
    store: ObjectStore, tmp_path: Path, size: int
) -> None:
    content = os.urandom(size)
    put(store, "instances/ab/cd/one.dcm", content, tmp_path)
    assert get(store, "instances/ab/cd/one.dcm", tmp_path) == content
    found = store.head("instances/ab/cd/one.dcm")
    assert found is not None
    assert found.size_bytes == size
    assert found.blake3 in ("", blake3.blake3(content).hexdigest())
    assert store.digest("instances/ab/cd/one.dcm") == blake3.blake3(content).hexdigest()


def test_an_object_put_again_replaces_the_first_and_has_another_version(
    store: ObjectStore, tmp_path: Path
) -> None:
    first = put(store, "work/a/study.json", b"first", tmp_path)
    second = put(store, "work/a/study.json", b"second", tmp_path)
    assert first != second
    assert get(store, "work/a/study.json", tmp_path) == b"second"
    assert [(one.key, one.version) for one in store.list("work")] == [("work/a/study.json", second)]


def test_a_listing_has_all_below_a_folder_and_deleting_takes_them_away(
    store: ObjectStore, tmp_path: Path
) -> None:
    keys = [f"work/{study}/{number}.npz" for study in ("a", "ab") for number in range(3)]
    for key in keys:
        put(store, key, key.encode(), tmp_path)
    assert sorted(one.key for one in store.list()) == sorted(keys)
    assert sorted(one.key for one in store.list("work/a")) == keys[:3]
    store.delete([*keys[:3], "work/never/was"])
    assert sorted(one.key for one in store.list()) == keys[3:]
    assert store.head(keys[0]) is None
    with pytest.raises(ObjectMissing):
        get(store, keys[0], tmp_path)
    with pytest.raises(FileNotFoundError):
        store.digest(keys[0])


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/.b", "ä", "a\n", "a" * 600])
def test_a_key_that_leaves_its_folder_or_no_store_takes_is_refused(
    store: ObjectStore, tmp_path: Path, key: str
) -> None:
    with pytest.raises(ObjectStoreError):
        put(store, key, b"x", tmp_path)
    with pytest.raises(ObjectStoreError):
        store.head(key)


def test_bytes_that_changed_in_the_bucket_are_found_when_they_are_fetched(
    bucket: Bucket, tmp_path: Path
) -> None:
    store = bucket.store()
    put(store, "results/a/1/report.pdf", b"as it was", tmp_path)
    client = bucket.server.client()
    key = "hospital/a/results/a/1/report.pdf"
    metadata = client.head_object(Bucket=bucket.name, Key=key)["Metadata"]
    client.put_object(Bucket=bucket.name, Key=key, Body=b"as it is", Metadata=metadata)
    with pytest.raises(ObjectDamaged, match="digest"):
        get(store, "results/a/1/report.pdf", tmp_path)
    assert store.digest("results/a/1/report.pdf") != store.head("results/a/1/report.pdf").blake3


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("refuse", StoreUnreachable, "connection refused"),
        ("hang", StoreUnreachable, "does not answer in time"),
        ("cut", StoreUnreachable, "does not answer in time"),
        (http_answer("503 Slow Down", "SlowDown"), StoreUnreachable, "SlowDown"),
        (http_answer("500 Internal Server Error"), StoreUnreachable, "HTTP 500"),
        (http_answer("507 Insufficient Storage", "XMinioStorageFull"), StoreFull, "no room left"),
        (http_answer("403 Forbidden", "QuotaExceeded"), StoreFull, "raise its quota"),
        (http_answer("403 Forbidden", "AccessDenied"), PermissionMissing, "forbids it"),
        (http_answer("403 Forbidden", "RequestTimeTooSkewed"), CredentialsRefused, "look at the clock"),
    ],
    ids=lambda value: value[:22].decode() if isinstance(value, bytes) else str(value),
)
def test_each_fault_is_told_by_its_kind_within_the_budget(
    bucket: Bucket, tmp_path: Path, fault: str | bytes, kind: type[ObjectStoreError], words: str
) -> None:
    store = bucket.store()
    put(bucket.store(request_s=20.0), "work/a/one", b"x", tmp_path)
    bucket.door.set(fault)
    started = time.monotonic()
    with pytest.raises(kind, match=words) as told:
        put(store, "work/a/two", b"x", tmp_path)
    assert time.monotonic() - started < 6.0
    assert "work/a" not in str(told.value), "a key is no matter for a log"
    with pytest.raises(kind):
        list(store.list())
    bucket.door.set(None)
    assert get(bucket.store(request_s=20.0), "work/a/one", tmp_path) == b"x", "it recovers by itself"


def test_a_short_fault_is_overcome_without_anybody_noticing(bucket: Bucket, tmp_path: Path) -> None:
    store = bucket.store(retry_s=8.0)
    bucket.door.set("refuse")
    timer = threading.Timer(0.4, bucket.door.set, [None])
    timer.start()
    put(store, "work/a/one", b"x", tmp_path)
    timer.join()
    assert get(store, "work/a/one", tmp_path) == b"x"


def test_a_bucket_that_is_not_there_is_told_from_an_object_that_is_not(
    bucket: Bucket, tmp_path: Path
) -> None:
    other = bucket.store("nosuchbucket")
    for ask in (
        lambda: put(other, "a", b"x", tmp_path),
        lambda: other.head("a"),
        lambda: list(other.list()),
        lambda: get(other, "a", tmp_path),
    ):
        with pytest.raises(BucketMissing, match="no bucket of this name"):
            ask()
    assert bucket.store().head("a") is None


def test_credentials_are_refused_or_forbidden_by_a_server_that_checks_them(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'
    )
    good = bucket.server.make_user(f"good{bucket.name}", everything)
    idle = bucket.server.make_user(f"idle{bucket.name}", None)
    file = tmp_path / "credentials"

    def as_user(key: str, secret: str) -> ObjectStore:
        file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
        return bucket.store(request_s=10.0)

    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    bucket.server.demand_credentials()
    try:
        put(as_user(*good), "work/a/one", b"x", tmp_path)
        with pytest.raises(CredentialsRefused, match="InvalidAccessKeyId"):
            put(as_user("AKIANOBODY", "x"), "work/a/two", b"x", tmp_path)
        with pytest.raises(CredentialsRefused, match="SignatureDoesNotMatch"):
            put(as_user(good[0], "wrong"), "work/a/two", b"x", tmp_path)
        with pytest.raises(PermissionMissing, match="AccessDenied"):
            put(as_user(*idle), "work/a/two", b"x", tmp_path)
        file.write_text("[other]\n")
        with pytest.raises(CredentialsRefused, match="valid access key"):
            put(bucket.store(), "work/a/two", b"x", tmp_path)
    finally:
        bucket.server.demand_credentials(False)


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [
        ("s3:/bucket", ""), ("bucket", ""), ("http://host/bucket", ""), ("s3://", ""), ("s3://b/../c", ""),
        ("s3://key:secret@bucket", ""), ("s3://bucket?x=1", ""), ("file://host/x", ""), ("file:///", ""),
        ("s3://bucket/a", "ftp://host"), ("s3://bucket/a", "host:9000"),
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_is_refused(address: str, endpoint: str) -> None:
    with pytest.raises(ObjectStoreError):
        open_store(address, endpoint=endpoint)


def test_without_any_credentials_it_says_that_there_are_none(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")  # where Amazon's machines have theirs
    with pytest.raises(CredentialsRefused, match="none are given"):
        bucket.store().head("a")


def test_a_store_of_the_hospital_is_believed_by_its_own_authority_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    authority = Authority(tmp_path / "tls")
    with s3_server(authority.sign("127.0.0.1"), authority.path) as server:
        values = {"endpoint": server.url, "region": REGION}
        name = server.make_bucket("hospital")
        store = open_store(f"s3://{name}/a", authorities=authority.path, **values)
        put(store, "work/a/one", b"x", tmp_path)
        assert get(store, "work/a/one", tmp_path) == b"x"
        with pytest.raises(StoreUnreachable, match="certificate is not believed"):
            open_store(f"s3://{name}/a", **values).head("work/a/one")


def test_an_authority_that_is_no_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "authority.pem").write_text("no certificate")
    for path in (tmp_path / "authority.pem", tmp_path / "nothing.pem"):
        with pytest.raises(StoreAddressInvalid):
            open_store("s3://bucket", endpoint="https://localhost:1", region="x", authorities=path)


def test_a_large_object_needs_little_memory(bucket: Bucket, tmp_path: Path) -> None:
    """Both ways in a process of its own, whose peak is asked of the kernel."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        for number in range(12):
            file.write(bytes([number]) * PART_BYTES)
    program = f"""
import resource
from pathlib import Path
from storage.address import open_store
from storage.object_store import digest_of_file
store = open_store("s3://{bucket.name}/p", endpoint="{bucket.server.url}", region="us-east-1")
Path("{tmp_path}/small").write_bytes(b"x")
store.put("small", Path("{tmp_path}/small"), "")
store.get("small", Path("{tmp_path}/small2"))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
path = Path("{path}")
store.put("large", path, digest_of_file(path))
store.get("large", Path("{tmp_path}/back"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=True
    )
    grown_mib = int(done.stdout) // 1024
    assert grown_mib < 64, f"{grown_mib} MiB for an object of 96 MiB"
