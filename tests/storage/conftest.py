"""One S3 server for the session, and a fresh bucket with a door before it for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from storage.s3_store import S3Address, S3ObjectStore
from tests.s3_server import REGION, FaultyDoor, S3Server, s3_server


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@dataclass(frozen=True)
class Bucket:
    """A bucket of its own, reached by a door that may have faults."""

    server: S3Server
    name: str
    door: FaultyDoor

    def store(self, name: str = "", **limits: float) -> S3ObjectStore:
        quick = {"connect_s": 1.0, "request_s": 1.5, "retry_s": 1.0} | limits
        return S3ObjectStore(S3Address(name or self.name, "hospital/a", self.door.url, REGION, **quick))


@pytest.fixture
def bucket(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    door = FaultyDoor(s3.url)
    yield Bucket(s3, s3.make_bucket(f"b{uuid.uuid4().hex}"), door)
    door.close()
