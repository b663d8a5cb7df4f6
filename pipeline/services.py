"""What a step needs from outside, handed down by parameter."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from dicom_gateway.instance_store import InstanceStore
from dicom_gateway.stored_instance import data_set_digest
from inference.scheduler import Scheduler
from models.model import Model
from pipeline.database import Connection, Database
from pipeline.metered import Metered
from pipeline.receive_observer import ReceiveObserver
from pipeline.status import StudyStatus
from pipeline.store import StudyRecord
from pipeline.tracing import NO_TRACING, Tracing
from pipeline.ways_out.send_mail import MailServer
from storage.objects import LOCAL_OBJECTS, Check, Objects


@dataclass(frozen=True)
class Folders:
    """Where files lie: received instances, what one step leaves for the next, result objects.

    secrets: certificates, keys and tokens that destinations name; None where nothing is delivered.
    objects: where instances, work and results lie for good. Where that is an object store, the folders are a cache:
    what is read was brought before (`…_at_hand`), what was written is kept before its row is committed (`keep`).
    """

    instances: Path
    work: Path
    results: Path
    secrets: Path | None = None
    objects: Objects = LOCAL_OBJECTS

    def instance_store(self, free_bytes_min: int = 0) -> InstanceStore:
        """For instances that come in."""
        return InstanceStore(self.instances, free_bytes_min, objects=self.objects)

    def kept_instances(self, locations: Iterable[str]) -> list[str]:
        """Of locations of instances those that have a file."""
        return self.objects.present_below(self.instances, locations)

    @contextmanager
    def instances_at_hand(self, tenant: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[None]:
        """The files of these rows of `instance` are here, and are what the rows say, while this lasts."""
        wanted = {self.instances / row["location"]: _is_data_set(row["blake3"]) for row in rows}
        with self.objects.at_hand(tenant, wanted):
            yield

    @contextmanager
    def results_at_hand(
        self, tenant: str, study_id: UUID, rows: Iterable[Mapping[str, Any]] = ()
    ) -> Iterator[None]:
        """All results of the study are here while this lasts, and those of the rows are what the rows say."""
        wanted = {self.results / row["location"]: _is_file(row["sha256"]) for row in rows}
        with (
            self.objects.folders_at_hand(tenant, [self.results / str(study_id)]),
            self.objects.at_hand(tenant, wanted),
        ):
            yield

    @contextmanager
    def step_at_hand(self, study: StudyRecord) -> Iterator[None]:
        """What earlier steps left and made of this revision is here while this lasts, whoever took them."""
        folders = [self.work_of(study), self.results_of(study)]
        with self.objects.folders_at_hand(study.tenant, folders):
            yield

    def keep(self, study: StudyRecord) -> None:
        """Make durable what a step left and made; before its rows and its status are committed."""
        self.objects.keep(study.tenant, [self.work_of(study), self.results_of(study)])

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
        self.objects.discard(self.work / str(study.id))

    def results_of(self, study: StudyRecord) -> Path:
        return self.results / str(study.id) / str(study.revision)


def _is_data_set(blake3: str) -> Check:
    return lambda path: data_set_digest(path) == blake3


def _is_file(sha256: str) -> Check:
    def check(path: Path) -> bool:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256

    return check


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


def _do_not_wait(conn: Connection, study: StudyRecord, delay_s: float) -> None:
    """The default where objects lie on this machine: no step waits for them."""
    raise NotImplementedError


def _ask_nobody(conn: Connection, tenant: str, study_id: UUID) -> None:
    """The default where no archive is asked."""


def _fetch_no_priors(conn: Connection, tenant: str, study_id: UUID, priors: dict[str, Any]) -> None:
    """The default where no earlier studies are looked for."""


class Observer:
    """Told what the steps of studies come to, for metrics; this one keeps none. Must be quick and must not raise."""

    def step_ended(self, step: str, gives: str, duration_s: float) -> None:
        """A step was committed."""

    def routed(self, study: StudyRecord) -> None:
        """The models of a study were chosen, by the rules that its route names."""

    def study_ended(self, study: StudyRecord, seconds: float | None) -> None:
        """A study has come to an end. seconds: since its last instance; None where a person had it done again."""

    def assembled(self, outcome: str, waited_s: float) -> None:
        """An arrival was closed. waited_s: since its last instance."""

    def delivered(self, kind: str, state: str, duration_s: float) -> None:
        """A result object was sent, or not, to a destination of a kind; state: of its delivery, after that."""

    def metered(self, decided: Metered) -> None:
        """Billing has decided about a usage event."""

    def job_disturbed(self, task: str, what: str) -> None:
        """A job will be tried again, was given up, or was freed from a dead worker: retried, failed, freed."""


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
    defer_step_later: Callable[[Connection, StudyRecord, float], None] = _do_not_wait
    ask_counts: Callable[[Connection, str, UUID], None] = _ask_nobody
    defer_priors: Callable[[Connection, str, UUID, dict[str, Any]], None] = _fetch_no_priors
    observer: Observer = field(default_factory=Observer)
    receive_observer: ReceiveObserver = field(default_factory=ReceiveObserver)
    tracing: Tracing = NO_TRACING
    time_zone: str = "UTC"
    portal_url: str = ""
    mail: MailServer | None = None
