"""What a step needs from outside, handed down by parameter."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from inference.scheduler import Scheduler
from models.model import Model
from pipeline.database import Connection, Database
from pipeline.status import StudyStatus
from pipeline.store import StudyRecord
from pipeline.ways_out.send_mail import MailServer


@dataclass(frozen=True)
class Folders:
    """Where files lie: received instances, what one step leaves for the next, result objects.

    secrets: certificates, keys and tokens that destinations name; None where nothing is delivered.
    """

    instances: Path
    work: Path
    results: Path
    secrets: Path | None = None

    def prior_of(self, study: StudyRecord, product: str, prior_study_id: UUID) -> Path:
        """Of a prior what a model compares with: its decoded volume."""
        return self.work_of(study) / "priors" / product / str(prior_study_id)

    def work_of(self, study: StudyRecord) -> Path:
        return self.work / str(study.id) / str(study.revision)

    def image_of(self, study: StudyRecord, choice: Mapping[str, Any]) -> Path:
        """Folder of what was decoded for a choice: a series, or one image of it; a UID never becomes a path."""
        uid = choice.get("sop_instance_uid") or choice["series_instance_uid"]
        return self.work_of(study) / hashlib.sha256(uid.encode()).hexdigest()[:16]

    def discard_work(self, study: StudyRecord) -> None:
        """Remove the volumes and masks of a study that has come to an end; a repeated call does nothing."""
        shutil.rmtree(self.work / str(study.id), ignore_errors=True)

    def results_of(self, study: StudyRecord) -> Path:
        return self.results / str(study.id) / str(study.revision)


def _no_save(conn: Connection, study: StudyRecord) -> None:
    """Nothing to save beside the status."""


@dataclass(frozen=True)
class Outcome:
    """What a step's work came to. `gives` replaces the step's usual next status.

    unchanged: late instances did not change what the models read. refused: the products that found no input.
    """

    save: Callable[[Connection, StudyRecord], None] = _no_save
    detail: dict[str, Any] = field(default_factory=dict)
    gives: StudyStatus | None = None
    reason: tuple[str, str] | None = None
    unchanged: bool = False
    refused: tuple[str, ...] = ()


def _ask_nobody(conn: Connection, tenant: str, study_id: UUID) -> None:
    """The default where no archive is asked."""


def _fetch_no_priors(conn: Connection, tenant: str, study_id: UUID, priors: dict[str, Any]) -> None:
    """The default where no earlier studies are looked for."""


def _observe_nothing(step: str, gives: str, duration_s: float) -> None:
    """The default when no metrics are kept."""


class FindModel(Protocol):
    """`models.registry.get_model` of this installation."""

    def __call__(self, name: str, *, version: str | None = None, threshold: float | None = None) -> Model: ...


@dataclass(frozen=True)
class Services:
    """Everything a worker's steps use.

    time_zone: IANA name, of rules that name none. portal_url: where people reach the portal, empty where nobody said.
    mail: who takes mails for us, None where nobody does.
    """

    database: Database
    folders: Folders
    scheduler: Scheduler
    get_model: FindModel
    defer_step: Callable[[Connection, StudyRecord], None]
    defer_delivery: Callable[[Connection, StudyRecord, str, float], None]
    defer_confirmation: Callable[[Connection, StudyRecord, str, int], None]
    ask_counts: Callable[[Connection, str, UUID], None] = _ask_nobody
    defer_priors: Callable[[Connection, str, UUID, dict[str, Any]], None] = _fetch_no_priors
    observe_step: Callable[[str, str, float], None] = _observe_nothing
    time_zone: str = "UTC"
    portal_url: str = ""
    mail: MailServer | None = None
