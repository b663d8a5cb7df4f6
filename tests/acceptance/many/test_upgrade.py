"""An upgrade that rolls through: the old version works on the new schema beside the new one, under load."""

from __future__ import annotations

import random
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.acceptance.many.cluster import Cluster
from tests.acceptance.many.load import Senders, make_studies, require_sound, wait_until_finished
from tests.conftest import ROOT, missing

MIGRATIONS = ("pipeline/sql/migrations", "billing/sql/migrations")
# Of the first migration that says what it does to older code; everything after it must keep older code running.
FIRST_PHASE = "pipeline-0630.schema-phase.sql"


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def commit_before(migrations: int) -> str:
    """The newest commit that lacks at least so many of today's migrations, yet knows of phases; "" without history."""
    adding = git("log", "--diff-filter=A", "--format=%H", "--name-only", "--", *MIGRATIONS).splitlines()
    commit, newer = "", 0
    for line in adding:
        if line.endswith(FIRST_PHASE):
            return ""
        if line and "/" not in line:
            if newer >= migrations:
                return git("rev-parse", f"{commit}^")
            commit = line
        elif line and "rollback" not in line:
            newer += 1
    return ""


def last_without_phases() -> str:
    """The commit before the first migration with a phase; "" without history."""
    adding = git("log", "--diff-filter=A", "--format=%H", "--", f"{MIGRATIONS[0]}/{FIRST_PHASE}")
    return git("rev-parse", f"{adding}^") if adding else ""


# The second goes when a contract takes away what it reads.
@pytest.fixture(params=[lambda: commit_before(2), last_without_phases], ids=["two migrations", "a release"])
def old_code(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """This repository as it was a few migrations ago, and as it was before migrations had phases."""
    commit = request.param()
    if not commit:
        missing(
            "no history with an older schema here: a shallow clone, or no repository",
            "RADMETER_REQUIRE_SHARED",
        )
    archive, folder = tmp_path / "old.tar", tmp_path / "old"
    subprocess.run(["git", "archive", "-o", archive, commit], cwd=ROOT, check=True)
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder


def names(code: Path) -> set[str]:
    return {
        path.name
        for folder in MIGRATIONS
        for path in (code / folder).iterdir()
        if "rollback" not in path.name
    }


@pytest.mark.soak
def test_two_versions_work_side_by_side_while_an_upgrade_rolls_through(
    old_code: Path, tmp_path: Path
) -> None:
    """Only old; the new version migrates under load; both; an old process is started anew; only new."""
    new = {path.stem for path in map(Path, names(ROOT) - names(old_code)) if path.suffix in (".sql", ".py")}
    assert len(new) >= 2
    seed = random.SystemRandom().randrange(4_000_000, 5_000_000)
    studies = make_studies(tmp_path / "studies", seed, 15)
    with Cluster.running(gateways=2, workers=2, code=old_code, has_s3=False) as cluster:
        old = list(cluster.nodes)
        wait_for = Senders(cluster, studies[:3], seed).start()
        wait_for.join(120)

        senders = Senders(cluster, studies[3:], seed, pause_s=4.0).start()
        assert cluster.command("migrate", "--check").returncode == 1
        migrated = cluster.command("migrate")
        assert migrated.returncode == 0, migrated.stderr
        assert {f"applied {name}" for name in new} <= set(migrated.stdout.splitlines())
        assert cluster.command("migrate", "--check").returncode == 0
        added = [cluster.add(role, f"{role}-new") for role in ("gateway", "worker", "portal")]
        cluster.wait_until_up()
        old_worker = next(node for node in old if node.role == "worker")
        old_worker.kill()
        cluster.wait(
            lambda: old_worker.starts == 2 and cluster.is_up(old_worker), 120, "an old worker starts again"
        )
        for node in old:
            # The web server ends by the signal itself once it is done.
            assert node.stop() in (0, -signal.SIGTERM if node.role == "portal" else 0), node.log[-2000:]
        senders.join(180)
        wait_until_finished(cluster, studies, 240)
        require_sound(cluster, studies)
        assert [node.exits for node in added] == [[], [], []]
