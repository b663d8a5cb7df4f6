"""Where an installation keeps what it knows: the database and the folders of its settings.

Apart from `server.wiring`, which brings everything that a worker needs: commands start without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.database import LET_GO_AFTER_S, Database
from pipeline.services import Folders
from server.object_store import objects
from server.sealing import master_keys
from server.settings import Settings

if TYPE_CHECKING:
    from server.metrics import Metrics


def folders(settings: Settings, metrics: Metrics | None = None) -> Folders:
    """The data folders, made if they are missing, and where what lies in them is kept for good."""
    made = Folders(
        settings.instances_directory,
        settings.work_directory,
        settings.results_directory,
        settings.secrets_directory,
        objects(settings, metrics.observe_object if metrics else None),
    )
    settings.secrets_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in (made.instances, made.work, made.results):
        folder.mkdir(parents=True, exist_ok=True)
    return made


def database(settings: Settings, *, pool_size_max: int, let_go_after_s: float = LET_GO_AFTER_S) -> Database:
    return Database(
        settings.database_url,
        pool_size_max=pool_size_max,
        let_go_after_s=let_go_after_s,
        masters=master_keys(settings),
        secrets=settings.secrets_directory,
    )
