"""An encoded study of the first hospital, and what happens to its objects on their way."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

from billing.contracts import store as billing_store
from pipeline import store
from pipeline.deliver_study import send_again
from pipeline.deliver_to import deliver_to
from pipeline.destinations import DestinationRecord, save_destination
from pipeline.queue import deferring_app
from pipeline.store import StudyRecord
from pipeline.study_path import take_step
from tests.conftest import ROOT
from tests.dicom_gateway.test_deliver_dimse import write_instance
from tests.pipeline.conftest import ALPHA, Clinic, make_instance
from tests.scripted_pacs import ScriptedPacs

SR, SEG, PDF = (
    "1.2.840.10008.5.1.4.1.1.88.34",
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.104.1",
)
KINDS = {"SR": SR, "SEG": SEG, "PDF": PDF}
PRODUCT = "lung_nodule_ct"


@dataclasses.dataclass
class Post:
    """An encoded study of the first hospital and what happens to its objects."""

    clinic: Clinic
    study: StudyRecord

    def add(self, name: str, port: int | None, **changes: Any) -> None:
        """A destination that is asked again at once."""
        values: dict[str, Any] = {
            "ae_title": "PACS", "host": "127.0.0.1", "port": port, "back_off_min_s": 0.1, "back_off_max_s": 0.1,
        }  # fmt: skip
        with self.clinic.database.transaction(ALPHA) as conn:
            save_destination(conn, DestinationRecord(ALPHA, name, **values | changes))

    def route_to(self, *names: str) -> None:
        self.clinic.owner.execute(
            """UPDATE study SET route = jsonb_build_array(jsonb_build_object('product', %s::text, 'destinations',
                 to_jsonb(%s::text[])))""",
            (PRODUCT, list(names)),
        )
        with self.clinic.database.transaction(ALPHA) as conn:
            self.study = store.get_study(conn, ALPHA, self.study.id)

    def start(self) -> None:
        take_step(self.clinic.services, ALPHA, str(self.study.id), self.study.revision, attempts=0)

    def run(self, destination: str) -> None:
        """One run of the destination's job, when everything is due."""
        self.clinic.owner.execute("UPDATE delivery SET next_at = now() - interval '1 s'")
        deliver_to(self.clinic.services, ALPHA, str(self.study.id), destination)

    def states(self, column: str = "state") -> dict[tuple[str, str], Any]:
        """(destination, kind) → state."""
        with self.clinic.database.transaction(ALPHA) as conn:
            rows = store.result_objects(conn, ALPHA, self.study.id)
        return {(row["destination"], row["kind"]): row[column] for row in rows}

    def row(self) -> StudyRecord:
        with self.clinic.database.transaction(ALPHA) as conn:
            return store.get_study(conn, ALPHA, self.study.id)

    def usage(self) -> list[tuple[str, str]]:
        with self.clinic.database.transaction(ALPHA) as conn:
            recorded = billing_store.usage_for_study(conn, ALPHA, str(self.study.id))
        return sorted((one.event.kind, str(one.decision.reason_code)) for one in recorded)

    def jobs(self) -> list[str]:
        return [row["args"]["destination"] for row in self.clinic.jobs("deliver")]

    def again(self, destination: str | None = None) -> list[str]:
        queue = deferring_app(self.clinic.database.url)
        try:
            with self.clinic.database.transaction(ALPHA) as conn:
                return send_again(queue, conn, ALPHA, str(self.study.id), destination)
        finally:
            queue.close()


@pytest.fixture
def post(clinic: Clinic) -> Post:
    """Its three objects lie in the results folder and wait for the deliver step; there is a contract."""
    with clinic.database.transaction(ALPHA) as conn:
        billing_store.add_contract(conn, ALPHA, (ROOT / "examples/contract_per_case.yaml").read_text())
    clinic.receive(make_instance())
    clinic.fall_silent()
    clinic.assemble()
    clinic.set_status(make_instance(), "encoded")
    made = Post(clinic, clinic.study(make_instance()))
    made.route_to()
    folder = clinic.services.folders.results
    folder.mkdir()
    for number, (kind, sop_class) in enumerate(KINDS.items(), start=1):
        write_object(folder / f"{kind}.dcm", number, sop_class)
        clinic.add_result_object(
            made.study, f"1.2.3.{number}", is_delivered=False, kind=kind, location=f"{kind}.dcm"
        )
    return made


def write_object(path: Path, number: int, sop_class: str) -> None:
    write_instance(path, number)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    dataset.save_as(path, enforce_file_format=True)


@pytest.fixture
def pacs() -> Iterator[ScriptedPacs]:
    with ScriptedPacs.listening() as listening:
        yield listening
