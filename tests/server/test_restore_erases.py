"""A restore to an instant before an erasure: what was erased does not come back."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.protection import erase
from server.backup.objects import copy_changed
from server.backup.restore_all import restore_all
from server.backup.take import folder_of, take_backup
from server.installation import owner_connection
from server.settings import Settings
from tests.pipeline.conftest import ALPHA
from tests.server.backup_site import site_in
from tests.server.test_backup import clock, wal_kept


@pytest.fixture
def sandbox() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="radmeter-erased-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_what_was_erased_after_the_instant_is_erased_again(sandbox: Path) -> None:
    """The register of erasures lies in the backup; the instant is before the erasure."""
    with site_in(sandbox / "erasing") as site:
        folder = folder_of(site.settings, sandbox / "erasing-backups")
        erased, kept = site.deliver(1), site.deliver(2)
        began = site.now()
        take_backup(site.settings, folder, clock)
        with wal_kept(site, folder):
            site.deliver(3)
            instant = site.now()
            with owner_connection(site.settings.database_url, ALPHA) as conn:
                plan = erase.plan_study(conn, ALPHA, erased.id)
                erase.erase(conn, plan, plan.code, reason="request 12", by="lin", now=clock())
            with owner_connection(site.settings.database_url) as conn:
                copy_changed(conn, site.settings.data_directory, folder, began)
    settings = Settings(data_directory=sandbox / "erased-again")
    proof = restore_all(settings, folder, instant, clock=clock)
    assert proof.holds, proof.text("")
    assert proof.erased_again == 1
    assert "erasures of later that were done again: 1" in proof.text("")
    with site_in(settings.data_directory) as site:
        status = {row["id"]: row["status"] for row in site.clinic.rows("SELECT id, status FROM study")}
        assert (status[erased.id], status[kept.id]) == ("erased", "delivered")
        instances = site.clinic.rows("SELECT location FROM instance")
    assert len(instances) == 2
    found = {
        path.relative_to(settings.instances_directory) for path in settings.instances_directory.rglob("*.dcm")
    }
    assert {str(path) for path in found} == {row["location"] for row in instances}
    assert not (settings.results_directory / str(erased.id)).exists()
