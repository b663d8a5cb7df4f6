"""Studies of four small radiographs, sent over several gateways at once until each image is acknowledged; and what must
hold at the end, whatever was killed meanwhile."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from billing.contracts import store as billing_store
from billing.statements import statement
from dicom_gateway.deliver_dimse import send_instances
from models.chest_radiograph.phantom import make_patient, take_frontal
from models.chest_radiograph.phantom_body import HELD_OUT
from models.chest_radiograph.phantom_others import lateral
from server.installation import FIRST_TENANT, owner_connection
from tests.acceptance.many.cluster import Cluster
from tests.dicom_peers import data_set_of
from tests.radiograph_files import write_radiograph

IMAGES = 4
_PATIENCE_S = 120.0


@cache
def _pictures() -> tuple[NDArray[np.uint16], ...]:
    patient = make_patient(np.random.default_rng(900_004), HELD_OUT)
    frontal = take_frontal(np.random.default_rng(2), patient, frozenset({"pleural_effusion"}))
    side = lateral(np.random.default_rng(3), patient)

    def stored(pixels: NDArray[np.float32]) -> NDArray[np.uint16]:
        unit = (pixels - pixels.min()) / (pixels.max() - pixels.min())
        return np.rint(unit * 4095).astype(np.uint16)

    return stored(frontal.pixels), *(stored(side.pixels) for _ in range(IMAGES - 1))


@dataclass
class Study:
    """acknowledged: SHA-256 of the data set of each instance that some gateway has answered with 0000H."""

    uid: str
    files: list[Path]
    acknowledged: dict[str, str] = field(default_factory=dict)
    refused: int = 0


def make_studies(folder: Path, seed: int, count: int) -> list[Study]:
    made = []
    for number in range(1, count + 1):
        root = f"1.2.{seed + 1}.{number}"
        files = [
            write_radiograph(
                folder / f"{number}" / f"{image}.dcm", pixels, modality="CR", BitsStored=12, InstanceNumber=image,
                ViewPosition="PA" if image == 1 else "LL", StudyInstanceUID=root, SeriesInstanceUID=f"{root}.1",
                SOPInstanceUID=f"{root}.1.{image}", PatientID=f"P{number}", AccessionNumber=f"A{seed}-{number}",
            )
            for image, pixels in enumerate(_pictures(), start=1)
        ]  # fmt: skip
        made.append(Study(root, files))
    return made


@dataclass
class Senders:
    """Modalities: each takes the next study and sends its images by several gateways, until all are acknowledged."""

    cluster: Cluster
    studies: list[Study]
    seed: int
    pause_s: float = 0.0
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._next = iter(self.studies)
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(3)]

    def start(self) -> Senders:
        for thread in self._threads:
            thread.start()
        return self

    @property
    def are_done(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def join(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        assert self.are_done, f"the senders are not done after {timeout_s:g} s\n{self.cluster.logs()}"
        assert self.problems == []

    def _run(self, number: int) -> None:
        rng = random.Random(self.seed * 10 + number)
        while True:
            with self._lock:
                study = next(self._next, None)
            if study is None:
                return
            send_study(self.cluster, study, rng, self.problems)
            time.sleep(self.pause_s)


def send_study(cluster: Cluster, study: Study, rng: random.Random, problems: list[str]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    waiting = list(study.files)
    while waiting:
        if time.monotonic() > deadline:
            problems.append(f"{len(waiting)} images of {study.uid} were not taken in {_PATIENCE_S:g} s")
            return
        gateways = cluster.of("gateway")
        first = rng.randrange(len(gateways))
        for offset in range(2):  # half of it by one gateway, half by another
            part = waiting[offset::2]
            for outcome in send_instances(part, gateways[(first + offset) % len(gateways)].destination):
                if outcome.acknowledged:
                    digest = hashlib.sha256(data_set_of(outcome.path)).hexdigest()
                    study.acknowledged[outcome.sop_instance_uid] = digest
                else:
                    study.refused += 1
        waiting = [path for path in study.files if f"{study.uid}.1.{path.stem}" not in study.acknowledged]
        if waiting:
            time.sleep(0.5)


def unfinished(cluster: Cluster) -> dict[str, int]:
    """What is still on its way, by kind; {} when nothing is."""
    counts = Counter(
        {
            row["what"]: row["n"]
            for row in cluster.rows("""
                SELECT 'study ' || status AS what, count(*) AS n FROM study
                WHERE status NOT IN ('delivered', 'rejected', 'failed') GROUP BY status
                UNION ALL SELECT 'arrival', count(*) FROM arrival WHERE closed_at IS NULL
                UNION ALL SELECT 'delivery', count(*) FROM delivery WHERE state = 'waiting'
                UNION ALL SELECT 'job ' || task_name, count(*) FROM procrastinate_jobs
                WHERE status IN ('todo', 'doing')
                  AND task_name IN ('take_step', 'deliver', 'assemble', 'reissue') GROUP BY task_name""")
        }
    )
    return {what: count for what, count in counts.items() if count}


def wait_until_finished(cluster: Cluster, studies: Sequence[Study], timeout_s: float) -> None:
    def is_finished() -> bool:
        here = cluster.rows("SELECT count(*) AS n FROM study")[0]["n"]
        return here >= len(studies) and not unfinished(cluster)

    try:
        cluster.wait(is_finished, timeout_s, "everything has come to its end")
    except AssertionError as error:
        raise AssertionError(f"left waiting: {unfinished(cluster)}\n{error}") from None


def require_nothing_lost(cluster: Cluster, studies: Sequence[Study]) -> None:
    """Every instance that was answered with 0000H is there, row and bytes."""
    rows = {
        row["sop_instance_uid"]: row["location"]
        for row in cluster.rows("SELECT sop_instance_uid, location FROM instance")
    }
    for study in studies:
        assert len(study.acknowledged) == IMAGES
        for uid, digest in study.acknowledged.items():
            stored = data_set_of(cluster.instance(rows[uid]))
            assert hashlib.sha256(stored).hexdigest() == digest


def require_each_delivered_once(cluster: Cluster, studies: Sequence[Study]) -> None:
    """Once: of each revision of a study one set of results; each object acknowledged; whatever the PACS was sent twice
    came under the same SOP Instance UID with the same bytes, and nothing came that is not in the books."""
    for study in studies:
        (row,) = cluster.rows("SELECT * FROM study WHERE study_instance_uid = %s", study.uid)
        assert (row["status"], row["reason_code"]) == ("delivered", None), row
        objects = cluster.rows(
            """SELECT o.sop_instance_uid, o.kind, o.revision, d.acknowledged_at, d.state FROM result_object o
               JOIN delivery d USING (tenant, sop_instance_uid) WHERE o.study_id = %s""",
            row["id"],
        )
        assert all(one["acknowledged_at"] for one in objects)
        kinds = Counter((one["kind"], one["revision"]) for one in objects)
        assert set(kinds.values()) == {1}, kinds
        received = cluster.pacs.received[study.uid]
        assert {uid for uid, _ in received} == {one["sop_instance_uid"] for one in objects}
        assert len(set(received)) == len(objects), "one SOP Instance UID with two contents"
        ends = cluster.rows(
            """SELECT revision FROM study_event WHERE study_id = %s AND event = 'study_delivered'""",
            row["id"],
        )
        assert len({one["revision"] for one in ends}) == len(ends), "a revision ended twice"


def require_each_billed_once(cluster: Cluster, studies: Sequence[Study]) -> None:
    """One billable decision for each study, a statement of their sum, and books that are sound."""
    with owner_connection(cluster.url) as conn:
        for study in studies:
            (row,) = cluster.rows("SELECT id FROM study WHERE study_instance_uid = %s", study.uid)
            recorded = billing_store.usage_for_study(conn, FIRST_TENANT, str(row["id"]))
            billable = [one.event.kind for one in recorded if one.decision.outcome == "billable"]
            assert billable == ["result_delivered"], [(one.event, one.decision) for one in recorded]
        (contract,) = billing_store.list_contracts(conn, FIRST_TENANT)
        drafted = statement.draft(conn, FIRST_TENANT, contract.contract_id, datetime.now(UTC))
        (count,) = conn.execute("SELECT count(*) AS n FROM study").fetchall()
    assert drafted.subtotal.amount_minor == 100_00 * count["n"]
    checked = cluster.command("ledger", "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def require_sound(cluster: Cluster, studies: Sequence[Study]) -> None:
    require_nothing_lost(cluster, studies)
    require_each_delivered_once(cluster, studies)
    require_each_billed_once(cluster, studies)
    assert cluster.rows("SELECT task_name, args FROM procrastinate_jobs WHERE status = 'failed'") == []
