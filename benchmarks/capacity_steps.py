"""What one study costs the whole server: seconds of each step, statements and processor time of PostgreSQL.

`radmeter serve` with one worker that takes one step at a time, as the model of `capacity` has its workers. First
studies come one after the other, then radiographs and CTs in a rush, one in five an emergency: when each was assembled
and delivered is what the model is held against.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
import psycopg
import pydicom
from pydicom.uid import generate_uid

from dicom_gateway.write_ct import write_ct_series
from models.chest_radiograph.phantom import make_patient, take_frontal
from models.chest_radiograph.phantom_body import HELD_OUT
from models.lung_nodule_ct.phantom import make_phantom
from study.study import Patient
from tests.acceptance.pacs import Pacs
from tests.radiograph_files import write_radiograph
from tests.server_process import RunningServer

SEED = 20261127
CT_SLICES = 275
ALONE = {"CT": 4, "CR": 8}
RUSH = {"CT": 4, "CR": 16}
RUSH_S = 40.0
"""All of the rush begins within this; a worker of two cores needs longer for it, so that studies stand in line."""
_RULES = """rules:
  - {name: CT, series: Modality == "CT", models: [lung_nodule_ct], emergency_when: StudyDescription == "EMERGENCY"}
  - {name: CR, series: Modality == "CR", models: [chest_radiograph], emergency_when: StudyDescription == "EMERGENCY"}
"""
_END_TIMEOUT_S = 900.0
_IDLE_S = 20.0
_WORKED = {"routed": "route", "decoded": "decode", "inferred": "infer", "encoded": "encode"}


@dataclass(frozen=True)
class Made:
    """A study on disk."""

    folder: Path
    modality: str
    is_emergency: bool
    uid: str


class Maker:
    """Studies of one phantom CT and one phantom film, each with identifiers of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        rng = np.random.default_rng(SEED)
        self._ct = make_phantom(
            SEED, spacing_mm=(1.0, 0.679, 0.679), nodule_count=3, field_mm=(CT_SLICES, 348, 348)
        )
        film = take_frontal(rng, make_patient(rng, HELD_OUT), frozenset({"pleural_effusion"})).pixels
        unit = (film - film.min()) / (film.max() - film.min())
        # As large as a detector's: the phantom's own film is small.
        self._film = np.kron(np.rint(unit * 4095).astype(np.uint16), np.ones((4, 4), np.uint16))
        self._count = 0

    def make(self, modality: str, *, is_emergency: bool = False) -> Made:
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir(parents=True)
        patient = Patient(
            patient_id=f"BENCH-{self._count}", name=f"Bench^{self._count}", birth_date="19700101", sex="O"
        )
        description = "EMERGENCY" if is_emergency else "ROUTINE"
        if modality == "CT":
            files = write_ct_series(
                self._ct.voxels, self._ct.spacing_mm, folder, patient=patient,
                study_description=description, seed=str(self._count),
            )  # fmt: skip
            uid = str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
        else:
            uid = generate_uid(None)
            write_radiograph(
                folder / "1.dcm", self._film, modality="CR", BitsStored=12, StudyInstanceUID=uid,
                SeriesInstanceUID=f"{uid}.1"[:64], SOPInstanceUID=generate_uid(None), PatientID=patient.patient_id,
                PatientName=patient.name, StudyDescription=description,
            )  # fmt: skip
        return Made(folder, modality, is_emergency, uid)


def run() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="radmeter-bench-") as name, Pacs.listening() as pacs:
        maker = Maker(Path(name))
        alone = [maker.make(modality) for modality, count in ALONE.items() for _ in range(count)]
        warm = [maker.make(modality) for modality in ALONE]
        counted = {modality: maker.make(modality) for modality in ALONE}
        rng = np.random.default_rng(SEED)
        kinds = rng.permutation([modality for modality, count in RUSH.items() for _ in range(count)])
        rush = [
            maker.make(str(modality), is_emergency=number % 5 == 0) for number, modality in enumerate(kinds)
        ]
        with _serving(pacs.port) as server:
            for study in warm:
                _send(server, study)
                server.wait_for_end(study.uid, _END_TIMEOUT_S)
            costs: dict[str, dict[str, float]] = {}
            for modality in ALONE:
                with _cost_of_database(server) as cost:
                    for study in (one for one in alone if one.modality == modality):
                        _send(server, study)
                        server.wait_for_end(study.uid, _END_TIMEOUT_S)
                costs[modality] = {key: value / ALONE[modality] for key, value in cost.items()}
                costs[modality]["statements"] = _statements(server, counted[modality])
            offsets = np.sort(rng.uniform(0, RUSH_S, len(rush)))
            began = time.monotonic()
            for study, offset in zip(rush, offsets, strict=True):
                time.sleep(max(0.0, began + offset - time.monotonic()))
                _send(server, study)
            for study in rush:
                server.wait_for_end(study.uid, _END_TIMEOUT_S)
            steps = {m: _steps(server, [one for one in alone if one.modality == m]) for m in ALONE}
            return {
                "ct_slices": CT_SLICES,
                "alone": steps,
                "rush": _rush(server, rush),
                "database_per_study": costs,
            }


@contextmanager
def _serving(pacs_port: int) -> Iterator[RunningServer]:
    server = RunningServer.new(WORKER_CONCURRENCY="1")
    try:
        server.start()
        server.add_peer("BENCH", pacs_port, quiet_time_s=1.0)
        rules = server.sandbox / "rules.yaml"
        rules.write_text(_RULES)
        for words in (("check", rules), ("add", rules), ("activate", "1")):
            done = server.command("route", *words)
            if done.returncode != 0:
                raise RuntimeError(done.stdout + done.stderr)
        yield server
    finally:
        server.remove()


def _send(server: RunningServer, study: Made) -> None:
    command = ["storescu", "-aet", "BENCH", "-aec", "RADMETER", "+sd", "127.0.0.1", str(server.dicom_port)]
    subprocess.run([*command, str(study.folder)], check=True, capture_output=True, timeout=300)


def _timeline(server: RunningServer, study: Made) -> list[dict[str, Any]]:
    return server.rows(
        """SELECT e.event, e.duration_ms, extract(epoch FROM e.at)::float8 AS at, s.priority
           FROM study_event e JOIN study s ON s.id = e.study_id WHERE s.study_instance_uid = %s ORDER BY e.id""",
        study.uid,
    )


def _steps(server: RunningServer, studies: list[Made]) -> dict[str, list[float]]:
    """Seconds of every step of studies that had the server for themselves, from one status to the next.

    That is the step's work, its commit and the way through the queue. assemble, deliver: only the way, which is nearly
    all of what they are. send: from the encoded results to the answer of the archive.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for study in studies:
        rows = {str(row["event"]).removeprefix("study_"): row for row in _timeline(server, study)}
        at = {name: row["at"] for name, row in rows.items()}
        way = at["routed"] - rows["routed"]["duration_ms"] / 1000 - at["assembled"]
        found["assemble"].append(way)
        for before, after in itertools.pairwise(("assembled", *_WORKED)):
            found[_WORKED.get(after, "")].append(at[after] - at[before])
        found["deliver"].append(way)
        found["send"].append(at["delivered"] - at["encoded"])
    return {step: [round(one, 3) for one in values] for step, values in found.items()}


def _rush(server: RunningServer, studies: list[Made]) -> list[dict[str, Any]]:
    """For each study: modality, priority, when it was assembled and delivered, and the work of its steps."""
    first = None
    found = []
    for study in studies:
        rows = _timeline(server, study)
        at = {str(row["event"]): row["at"] for row in rows}
        first = first if first is not None else at["study_assembled"]
        found.append(
            {
                "modality": study.modality, "priority": rows[-1]["priority"],
                "assembled_s": round(at["study_assembled"] - first, 3),
                "delivered_s": round(at["study_delivered"] - first, 3),
                "steps": {
                    _WORKED[name]: row["duration_ms"] / 1000
                    for row in rows
                    if (name := str(row["event"]).removeprefix("study_")) in _WORKED
                },
            }
        )  # fmt: skip
    return found


@contextmanager
def _cost_of_database(server: RunningServer) -> Iterator[dict[str, float]]:
    """Transactions, WAL bytes and processor seconds of PostgreSQL, and of all else that serves (server_s).

    Less what an idle server costs in the same time.
    """
    cost: dict[str, float] = {}
    idle = _idle(server)
    before, began = _counted(server), time.monotonic()
    yield cost
    after, lasted = _counted(server), time.monotonic() - began
    cost.update({key: after[key] - before[key] - idle.get(key, 0.0) * lasted for key in before})


def _idle(server: RunningServer) -> dict[str, float]:
    """What a second without a study costs."""
    before = _counted(server)
    time.sleep(_IDLE_S)
    after = _counted(server)
    # Not of the WAL: a checkpoint at the wrong moment is more than the study itself.
    return {key: (after[key] - before[key]) / _IDLE_S for key in before if key != "wal_bytes"}


def _counted(server: RunningServer) -> dict[str, float]:
    time.sleep(1.5)  # backends tell their counts once a second
    (row,) = server.rows(
        """SELECT xact_commit::float8 AS transactions,
                  pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 AS wal_bytes
           FROM pg_stat_database WHERE datname = current_database()"""
    )
    assert server.process is not None
    return {
        **row,
        "processor_s": _processor_s(server.postmaster_pid()),
        "server_s": _processor_s(server.process.pid),
    }


def _processor_s(pid: int | None) -> float:
    """Of a process, those below it, and those that were."""
    spent = 0.0
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)] if pid else []:
        with contextlib.suppress(
            psutil.NoSuchProcess
        ):  # it has just ended, and counts with its parent's from now on
            times = process.cpu_times()
            spent += times.user + times.system + times.children_user + times.children_system
    return spent


def _statements(server: RunningServer, study: Made) -> float:
    """Statements of one study, read off the log of the database, less what an idle server sends in the same time."""
    _log_statements(server, "all")
    first = _logged(server)
    time.sleep(_IDLE_S)
    before, began = _logged(server), time.monotonic()
    _send(server, study)
    server.wait_for_end(study.uid, _END_TIMEOUT_S)
    count = _logged(server) - before - (before - first) / _IDLE_S * (time.monotonic() - began)
    _log_statements(server, "none")
    return count


def _log_statements(server: RunningServer, which: Literal["all", "none"]) -> None:
    with psycopg.connect(server.database_url, autocommit=True) as admin:
        admin.execute(f"ALTER SYSTEM SET log_statement = '{which}'")
        admin.execute("SELECT pg_reload_conf()")
    time.sleep(1.0)


def _logged(server: RunningServer) -> float:
    log = (server.postgres_folder / "log").read_text(errors="replace")
    return len(re.findall(r"(?m)LOG: +(?:statement|execute)", log))
