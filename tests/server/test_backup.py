"""Backup and restore with a real PostgreSQL: every change of it and every file, back to an instant, with proof."""

from __future__ import annotations

import resource
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from pipeline.protection.erase import Erasure
from pipeline.protection.erase_objects import write_register
from server.backup import prune, restore, verify
from server.backup.folder import BackupFolder, BackupRecord
from server.backup.objects import copy_changed, place_of
from server.backup.proof import Proof
from server.backup.restore_all import restore_all
from server.backup.take import NOT_PERMITTED, folder_of, take_backup
from server.errors import BackupFailed
from server.installation import owner_connection
from server.settings import Settings
from storage.folder_store import FolderStore
from tests.pipeline.conftest import ALPHA
from tests.server.backup_site import add_contract, books, site_in, wal_kept


def clock() -> datetime:
    return datetime.now(UTC)


@dataclass
class Story:
    """One installation, backed up in the middle of its day, and what it came to in the end.

    Studies 1 and 2 were delivered before the backup, 3 after it; at `instant` study 4 was between two steps; 5 and 6
    came later. records: of the backup. straight: decisions and journal of a day without a restore.
    """

    folder: BackupFolder
    record: BackupRecord
    instant: datetime
    first_study: UUID
    straight: tuple[Any, ...]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Path]:
    root = Path(tempfile.mkdtemp(prefix="radmeter-backup-"))
    yield root
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="module")
def story(sandbox: Path) -> Story:
    with site_in(sandbox / "data") as site:
        folder = folder_of(site.settings, sandbox / "backups")
        contract = add_contract(site)
        (site.settings.secrets_directory).mkdir(parents=True)
        (site.settings.secrets_directory / "pacs.token").write_text("not in a backup")
        first, _ = site.deliver(1), site.deliver(2)
        record = take_backup(site.settings, folder, clock)
        with wal_kept(site, folder):
            began = site.now()
            site.deliver(3)
            halfway = site.step(site.step(site.step(site.assemble(4))))
            assert halfway.status == "inferred"
            with owner_connection(site.settings.database_url) as conn:
                copy_changed(conn, site.settings.data_directory, folder, began)
            instant = site.now()
            while halfway.status != "delivered":
                halfway = site.step(halfway)
            for study in (5, 6):
                site.deliver(study)
            straight = books(site, contract)
    return Story(folder, record, instant, first.id, straight)


@pytest.fixture(scope="module")
def restored(story: Story, sandbox: Path) -> tuple[Settings, Proof]:
    settings = Settings(data_directory=sandbox / "restored")
    return settings, restore_all(settings, story.folder, story.instant, clock=clock)


def test_a_restore_to_an_instant_has_what_was_committed_by_then_and_proves_it(
    story: Story, restored: tuple[Settings, Proof]
) -> None:
    settings, proof = restored
    assert proof.holds, proof.text("")
    assert proof.rows["study"] == 4
    assert proof.recovered.recovered_to is not None
    assert proof.recovered.recovered_to <= story.instant
    assert proof.begun_again == 1
    report = proof.text("Lin")
    assert "The restore is proven." in report
    assert "7 of 7" in report, report
    assert "pacs.token" in report
    assert "Signed off by: Lin" in report
    assert not (settings.secrets_directory / "pacs.token").exists()
    assert len(list(settings.results_directory.rglob("report.json"))) == 3


def test_what_the_pacs_sends_again_after_a_restore_is_charged_once(
    story: Story, restored: tuple[Settings, Proof]
) -> None:
    """Studies of before the instant are known, later ones run again; the books become those of a straight day."""
    with site_in(restored[0].data_directory) as site:
        (contract,) = site.clinic.rows("SELECT contract_id FROM billing.contract WHERE tenant = %s", ALPHA)
        waiting = site.clinic.rows("SELECT id FROM study WHERE status = 'assembled'")
        jobs = [job["args"]["study_id"] for job in site.clinic.jobs("take_step")]
        assert str(waiting[0]["id"]) in jobs
        for study in range(1, 7):
            site.deliver(study)
        assert {row["status"] for row in site.clinic.rows("SELECT status FROM study")} == {"delivered"}
        assert books(site, contract["contract_id"]) == story.straight


def test_a_file_that_is_not_in_the_backup_is_named_and_the_restore_is_not_proven(
    story: Story, sandbox: Path
) -> None:
    folder = BackupFolder(sandbox / "thinned")
    shutil.copytree(story.folder.root, folder.root)
    lines = [line for line in verify.manifest(folder, story.record) if line["kind"] == "instance"]
    rotten, gone = (folder.objects / Path(line["key"]).with_name(line["as"]) for line in lines)
    rotten.write_bytes(b"x" + rotten.read_bytes()[1:-1] + b"x")
    gone.unlink()
    proof = restore_all(
        Settings(data_directory=sandbox / "doubtful"), folder, story.record.base_ended_at, clock=clock
    )
    assert not proof.holds
    (files,) = [one for one in proof.findings if one.problems]
    lost = {problem.split(":")[0] for problem in files.problems}
    assert lost == {line["key"] for line in lines}
    assert "THE RESTORE IS NOT PROVEN" in proof.text("")
    named = verify.find_problems(folder, story.record)
    assert len(named) == 2
    assert {problem.rpartition(" is ")[2] for problem in named} == {"not what it was", "missing"}


def test_what_was_erased_after_the_instant_stays_erased(
    story: Story, small: Callable[[], BackupFolder], sandbox: Path
) -> None:
    folder = small()
    erasure = Erasure(uuid4(), ALPHA, story.first_study, "asked for", "lin", clock())
    write_register(FolderStore(folder.root), erasure)
    settings = Settings(data_directory=sandbox / "erased")
    proof = restore_all(settings, folder, story.instant, clock=clock)
    assert proof.holds, proof.text("")
    assert proof.erased_again == 1
    assert "5 of 5" in proof.text(""), "two files less"
    assert not (settings.results_directory / str(story.first_study)).exists()


def test_what_cannot_be_restored_says_why(story: Story, sandbox: Path) -> None:
    full = sandbox / "full"
    full.mkdir()
    (full / "something").touch()

    def refused(settings: Settings, at: datetime | None) -> str:
        with pytest.raises(BackupFailed) as caught:
            restore_all(settings, story.folder, at, clock=clock)
        return str(caught.value)

    assert "is not empty" in refused(Settings(data_directory=full), story.instant)
    early = story.instant - timedelta(days=1)
    assert "the earliest instant" in refused(Settings(data_directory=sandbox / "early"), early)
    late = story.instant + timedelta(days=1)
    assert "the archive ends before" in refused(Settings(data_directory=sandbox / "late"), late)


def test_a_database_that_ended_by_itself_just_before_it_is_stopped_is_no_second_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid_file = tmp_path / "postmaster.pid"
    real_run = restore.run

    def ends_meanwhile(name: str, arguments: Sequence[str | Path], *, as_server: bool) -> str:
        pid_file.unlink()
        return real_run(name, arguments, as_server=as_server)

    monkeypatch.setattr(restore, "run", ends_meanwhile)
    pid_file.touch()
    restore._stop(tmp_path)

    monkeypatch.setattr(restore, "run", real_run)
    pid_file.write_text("no process\n")  # one that cannot be stopped is told
    with pytest.raises(BackupFailed, match="pg_ctl"):
        restore._stop(tmp_path)


@pytest.fixture
def small(story: Story, sandbox: Path) -> Iterator[Callable[[], BackupFolder]]:
    """A copy of the folder of backups for each call."""
    copies: list[Path] = []

    def copy() -> BackupFolder:
        copies.append(sandbox / f"copy-{len(copies)}")
        shutil.copytree(story.folder.root, copies[-1])
        return BackupFolder(copies[-1])

    yield copy
    for path in copies:
        shutil.rmtree(path)


def test_a_half_made_backup_is_no_backup_and_two_at_once_are_refused(
    story: Story, small: Callable[[], BackupFolder], postgres_url: str
) -> None:
    folder = small()
    part = folder.begin(clock())
    (part / "postgres").mkdir()
    assert [one.name for one in folder.backups()] == [story.record.name]
    settings = Settings(data_directory=folder.root.parent / "data", database_url=postgres_url)
    with folder.locked(), pytest.raises(BackupFailed, match="another process works on the backups"):
        take_backup(settings, folder, clock)
    with pytest.raises(BackupFailed, match="the backups of another database"):
        take_backup(settings, folder, clock)


def test_a_database_that_lets_nobody_replicate_gives_objects_and_a_sentence(
    migrated_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with owner_connection(migrated_url) as conn:
        conn.execute("DROP ROLE IF EXISTS radmeter_no_replication")
        conn.execute("CREATE ROLE radmeter_no_replication LOGIN IN ROLE radmeter_app")
        conn.execute("GRANT SELECT ON audit_head, audit_event TO radmeter_no_replication")
    url = migrated_url.replace("postgres:@", "radmeter_no_replication@")
    settings = Settings(data_directory=tmp_path / "data", database_url=url)
    folder = BackupFolder(tmp_path / "backups")
    try:
        record = take_backup(settings, folder, clock)
    finally:
        with owner_connection(migrated_url) as conn:
            conn.execute("DROP OWNED BY radmeter_no_replication")
            conn.execute("DROP ROLE radmeter_no_replication")
    assert record.base_ended_at is None
    assert record.no_database_because == NOT_PERMITTED
    with pytest.raises(BackupFailed, match="holds no database"):
        restore_all(replace(settings, data_directory=tmp_path / "new"), folder, None, clock=clock)


def test_a_full_disk_says_so_and_leaves_no_backup(story: Story, sandbox: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    data = sandbox / "data"
    folder = BackupFolder(sandbox / "tiny")
    with site_in(data) as site:
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
        try:
            with pytest.raises(BackupFailed):
                take_backup(site.settings, folder, clock)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, ignored)
    assert folder.backups() == []


def test_pruning_keeps_days_and_weeks_and_what_they_name(
    story: Story, small: Callable[[], BackupFolder]
) -> None:
    folder = small()
    start = datetime(2027, 1, 1, 3, tzinfo=UTC)
    many = [
        replace(story.record, name=f"d{number}", finished_at=start + timedelta(hours=12 * number))
        for number in range(60)
    ]
    stay = prune.kept(many, daily=3, weekly=2)
    assert stay == {"d59", "d57", "d55", "d47"}, (
        "the last of three days, and of the weeks that end on the 31st and 24th"
    )
    orphan = place_of(folder.objects, "instances/aa/bb/old.dcm", "f" * 64)
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"nobody's")
    assert prune.prune(folder, daily=1, weekly=0) == ([], 0), "what came after the newest backup began, stays"
    assert verify.find_problems(folder, story.record) == []


def test_the_wal_archive_must_have_no_hole(tmp_path: Path) -> None:
    first = "000000010000000000000002"
    for name in (first, "0000000100000000000000FF", "000000010000000100000000.partial"):
        (tmp_path / name).touch()
    (problem,) = verify.gaps([tmp_path], first)
    assert "a hole of 252 segments" in problem
    assert "is not there" in verify.gaps([tmp_path], "000000010000000000000001")[0]
    assert verify.gaps([tmp_path], "0000000100000000000000FF") == []
