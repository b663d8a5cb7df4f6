"""Send what waits for one destination: one job for each study and destination.

Each answer is stored as it comes. A job that leaves objects waiting puts one successor into the queue, for the moment
when the first of them is due; so nothing that waits is ever without a job.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg

from dicom_gateway.delivery_outcome import DeliveryOutcome
from pipeline import deliveries, store
from pipeline.database import Connection
from pipeline.destinations import DestinationRecord, find_destination
from pipeline.errors import StudyNotFound
from pipeline.send_objects import Sender
from pipeline.services import Services
from pipeline.status import TERMINAL, StudyStatus
from pipeline.store import Row, StudyRecord
from pipeline.study_path import STEP_AFTER, Ended, end_step, place_of, tell
from storage.errors import StoreNotReady

log = logging.getLogger("radmeter.pipeline")

# All of a destination's associations are in use: look again after about this time for each study that waits for it.
_BUSY_S = 0.5
# Another job sends this study's objects there. It will be done long before, or its worker is gone and its hold with it.
_TAKEN_S = 5.0
# While one object is on its way nothing happens in the transaction that holds the association: a sign of life.
_SIGN_OF_LIFE_S = 1.0


def deliver_to(services: Services, tenant: str, study_id: str, destination: str) -> None:
    """Send what is due. Raises only what is wrong on our side, for the queue to try again."""
    with services.database.transaction(tenant) as conn:
        try:
            study = store.get_study(conn, tenant, study_id)
        except StudyNotFound:  # deleted since: nothing is left to send, and asking again would never end
            log.warning("delivery_of_a_deleted_study", extra={"tenant": tenant, "study": study_id})
            return
        waiting = deliveries.waiting(conn, study, destination)
        target = find_destination(conn, tenant, destination)
        calling = store.get_tenant(conn, tenant)["called_ae_title"]
    # The default target stands for a name that nobody knows: what waits for it is given up in time, visibly.
    job = _Job(services, study, target or DestinationRecord(tenant, destination))
    if not waiting.due:
        _come_back(services, study, job.target, waiting.next_in_s)
        return
    with services.database.transaction(tenant) as slot:
        held = deliveries.hold_slot(slot, job.target, study.id)
        if held is None:
            services.defer_delivery(slot, study, destination, _TAKEN_S)
            return
        if not held:
            backlog = deliveries.waiting_studies(slot, job.target)
            services.defer_delivery(slot, study, destination, _BUSY_S * random.uniform(1, max(2, backlog)))  # noqa: S311
            return
        with services.database.transaction(tenant) as conn:
            waiting = deliveries.waiting(conn, study, destination)
        if waiting.due:
            kind = job.target.kind
            with _Hold(slot) as hold, services.tracing.span(place_of(study), "deliver_to", kind=kind):
                job.run(waiting.due, calling, hold, is_known=target is not None)
    with services.database.transaction(tenant) as conn:
        waiting = deliveries.waiting(conn, study, destination)
    _come_back(services, study, job.target, 0.0 if waiting.due else waiting.next_in_s)


def _come_back(services: Services, study: StudyRecord, target: DestinationRecord, in_s: float | None) -> None:
    """Leave a successor while something waits, and one that asks for a confirmation when nothing does."""
    with services.database.transaction(study.tenant) as conn:
        if in_s is not None:
            services.defer_delivery(conn, study, target.name, in_s)
        elif target.confirmation != "none" and deliveries.confirmable(
            conn, study.tenant, study.id, target.name
        ):
            services.defer_confirmation(conn, study, target.name, 0)


class _Hold:
    """The association that this job holds, in a transaction that the database ends when nothing happens in it.

    So a worker that is frozen, or whose machine is gone, holds nothing for long; and one that comes back finds out.
    """

    def __init__(self, slot: Connection) -> None:
        self._slot = slot
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="delivery-hold", daemon=True)

    def __enter__(self) -> _Hold:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def require(self) -> None:
        """Raises `psycopg.Error` when the association is not ours any more: others send now."""
        self._slot.execute("SELECT 1")

    def _keep(self) -> None:
        with contextlib.suppress(psycopg.Error):
            while not self._done.wait(_SIGN_OF_LIFE_S):
                self.require()


@dataclass
class _Job:
    """One run: which study's objects go where, and when it began."""

    services: Services
    study: StudyRecord
    target: DestinationRecord
    started: float = field(default_factory=time.monotonic)

    def run(self, rows: list[Row], calling: str, hold: _Hold, *, is_known: bool) -> None:
        root = self.services.folders.results
        row_of = {root / row["location"]: row for row in rows}
        if not self.target.enabled or not is_known:
            why = "it is switched off" if is_known else "there is no destination or peer of this name"
            for path in row_of:
                self.record(row_of[path], DeliveryOutcome("", None, False, why, path))
            return
        sender = Sender(calling, self.services.folders.secrets, self.services.mail)
        open_paths = dict.fromkeys(row_of)

        def record(outcome: DeliveryOutcome) -> None:
            hold.require()
            self.record(row_of[outcome.path], outcome)
            del open_paths[outcome.path]

        try:
            with self.services.folders.results_at_hand(self.study.tenant, self.study.id, rows):
                sender.send(list(row_of), self.target, self._paced(record))
        except (psycopg.Error, StoreNotReady):
            raise
        except (
            Exception
        ) as error:  # a mistake of ours counts as an attempt, so that it is given up visibly too
            log.exception("delivery_broke_off", extra={"study": str(self.study.id)})
            for path in list(open_paths):
                record(DeliveryOutcome("", None, False, f"not sent: {type(error).__name__}", path))

    def _paced(self, record: Callable[[DeliveryOutcome], None]) -> Callable[[DeliveryOutcome], None]:
        """Not more objects a second than the destination wants, shared among its associations."""
        rate = self.target.objects_per_s
        if rate is None:
            return record
        pause_s = self.target.associations_max / rate
        last = self.started

        def paced(outcome: DeliveryOutcome) -> None:
            nonlocal last
            record(outcome)
            time.sleep(max(0.0, last + pause_s - time.monotonic()))
            last = time.monotonic()

        return paced

    def record(self, row: Row, outcome: DeliveryOutcome) -> None:
        """Store one answer; the last one that was required ends the study in the same transaction."""
        step = STEP_AFTER[StudyStatus.ENCODED]
        duration_ms = round((time.monotonic() - self.started) * 1000)
        ended: Ended | None = None
        with self.services.database.transaction(self.study.tenant) as conn:
            now = store.lock_study(conn, self.study.tenant, self.study.id)
            state = deliveries.record_outcome(conn, now, self.target, row, outcome)
            if state == "acknowledged" and row["kind"] in ("FHIR", "ORU") and now.status in TERMINAL:
                deliveries.record_message(conn, now, self.target)
            if now.status is StudyStatus.ENCODED:
                verdict = deliveries.verdict(conn, now)
                if verdict is not None:
                    ended = end_step(conn, self.services, now, step, verdict, duration_ms=duration_ms)
        if state in ("refused", "dead"):
            # What a FHIR server or an HL7 receiver says of a message may name the patient; the study's page shows it.
            reason = outcome.error if self.target.is_pacs else None
            log.error(
                "delivery_given_up",
                extra={"tenant": now.tenant, "study": str(now.id), "status": state, "reason": reason},
            )
        self.services.observer.delivered(self.target.kind, state, duration_ms / 1000)
        if ended is not None:
            tell(self.services, step, ended, duration_ms=duration_ms)
