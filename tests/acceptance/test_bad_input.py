"""Malformed, hostile and merely odd objects and peers at one running server.

After all of it the server is up with the threads and the memory that it had, each study has ended visibly, what was
acknowledged is there, nothing lies outside the store, no patient is named in logs, metrics or billing, the books and
the audit trail are sound, and the next good study is served.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pydicom
import pytest
from blake3 import blake3

from billing.books import ledger
from dicom_gateway.deliver_dimse import echo, send_instances
from dicom_gateway.scu_association import Destination
from dicom_gateway.write_ct import write_ct_series
from pipeline import audit
from pipeline.status import TERMINAL
from server.installation import FIRST_TENANT, owner_connection
from study.study import Patient
from tests.acceptance.bad_senders import POISONS, Sent, poison_uid, poisoned, send_raw, split
from tests.acceptance.conftest import MakeStudy
from tests.acceptance.hostile_peers import assail, billing_texts, gateway_figures
from tests.acceptance.pacs import Pacs
from tests.dicom_gateway.malformed_pdus import malformed
from tests.raw_peer import RawPeer
from tests.server_process import RunningServer

# What each difficult series ends with. Those that decode well come as far as the model, which finds no lungs in them.
DECODED = "LUNGS_NOT_FOUND"
SERIES_CODES = {
    "plain": DECODED,
    "shuffled_names_and_numbers": DECODED,
    "reversed_instance_numbers": DECODED,
    "one_missing": "MISSING_SLICES",
    "ends_missing": "TOO_FEW_SLICES",
    "same_instance_twice": DECODED,
    "same_uid_other_pixels": DECODED,  # the second one is in quarantine
    "same_position_twice": DECODED,
    "spacing_jitter_1um": DECODED,
    "spacing_doubles_half_way": "GEOMETRY_NOT_UNIFORM",
    "no_positions": "GEOMETRY_INVALID",
    "no_pixel_spacing": "GEOMETRY_INVALID",
    "lying_slice_thickness": DECODED,
    "no_rescale": "HU_UNKNOWN",
    "two_frames_of_reference": "FRAMES_OF_REFERENCE_DIFFER",
    "two_patients_in_one_series": "DIFFERENT_PATIENTS",
    "single_slice": "TOO_FEW_SLICES",
    "two_slices": "TOO_FEW_SLICES",
    "body_part_head": "WRONG_BODY_PART",
    "modality_mr": "WRONG_MODALITY",
    "burned_in_phi": DECODED,
    "quarantine_name_utf8": "TOO_FEW_SLICES",
    "ts_rle": DECODED,
    "ts_jpegls": DECODED,
    "ts_jpeg_lossless_sv1": DECODED,
    "ts_implicit": DECODED,
    "ts_big_endian": DECODED,
}
# Negotiation refuses this transfer syntax, so no study comes into being.
NOT_SENT = {"ts_deflated"}


@pytest.fixture(scope="module")
def cases(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The difficult cases, made from 28 small slices of a water phantom that claims to be a chest."""
    folder = tmp_path_factory.mktemp("cases")
    plane = np.hypot(*np.mgrid[-32:32, -32:32])
    voxels = np.repeat(np.where(plane < 24, 0, -1000)[None], 28, axis=0).astype(np.int16)
    voxels += np.arange(28, dtype=np.int16)[:, None, None]
    source = folder / "source"
    patient = Patient(patient_id="SOURCE", name="Source")
    for path in write_ct_series(
        voxels + np.int16(1024), (2.5, 5.0, 5.0), source, patient=patient, seed="water"
    ):
        data_set = pydicom.dcmread(path)
        # Stored as most scanners do; DCMTK's lossy JPEG-LS takes unsigned pixels alone.
        data_set.PixelRepresentation, data_set.RescaleIntercept = 0, "-1024"
        data_set.save_as(path)
    tool = shared_data.parent / "tools/make_cases.py"
    made = folder / "made"
    subprocess.run(
        [sys.executable, str(tool), str(source), str(made), "--slices", "28"],
        check=True,
        capture_output=True,
        timeout=300,
    )
    return made


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    running = RunningServer.new(WORKER_CONCURRENCY="4", INFERENCE_THREADS="1", LOG_LEVEL="DEBUG")
    running.start()
    yield running
    running.remove()


@pytest.fixture(scope="module")
def pacs(server: RunningServer) -> Iterator[Pacs]:
    with Pacs.listening() as listening:
        # Series with a slice missing would be waited for much longer.
        server.add_peer("PACS", listening.port, force_after_s=8.0)
        yield listening


@pytest.fixture(scope="module")
def sent() -> Sent:
    return Sent()


def require_echo(server: RunningServer) -> None:
    assert echo(Destination("127.0.0.1", server.dicom_port, "RADMETER", "PACS")) is None


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom, about what the files hold
class TestBadInput:
    """In this order, on one server that is never started again."""

    def test_files_that_no_scu_can_send_are_refused_by_name(
        self, server: RunningServer, pacs: Pacs, shared_data: Path
    ) -> None:
        names = ["zipMR.gz", "no_meta.dcm", "ExplVR_LitEndNoMeta.dcm", "meta_missing_tsyntax.dcm"]
        paths = [shared_data / "malformed_real" / name for name in names]
        done = server.command(
            "send", *paths, "--to", f"RADMETER@127.0.0.1:{server.dicom_port}", "--calling", "PACS"
        )
        assert done.returncode == 1
        assert "0 of 4 accepted" in done.stdout
        for name in names:
            assert name in done.stdout
        assert server.rows("SELECT 1 FROM study") == []

    def test_malformed_files_of_the_field(
        self, server: RunningServer, pacs: Pacs, shared_data: Path, sent: Sent
    ) -> None:
        for path in sorted((shared_data / "malformed_real").iterdir()):
            send_raw(server, path, sent)
        assert sent.answers["aborted"] == 0  # an association is worth keeping
        assert sum(sent.answers.values()) >= 40
        require_echo(server)

    def test_hostile_single_files(self, server: RunningServer, pacs: Pacs, cases: Path, sent: Sent) -> None:
        for path in sorted((cases / "bad").iterdir()):
            send_raw(server, path, sent)
        assert sent.answers["aborted"] == 0
        require_echo(server)

    def test_hostile_peers_of_253_hosts_cost_neither_threads_nor_memory(
        self, server: RunningServer, pacs: Pacs
    ) -> None:
        """The first half shows what processes need at all, the second costs nothing more."""
        silent = [RawPeer(server.dicom_port, source=f"127.0.1.{host}") for host in range(1, 11)]
        attackers = enumerate(malformed(7, 253), start=2)
        for host, attack in itertools.islice(attackers, 126):
            assail(server, host, *attack)
        threads, memory = gateway_figures(server)
        for host, attack in attackers:
            assail(server, host, *attack)
        require_echo(server)
        server.wait(
            lambda: gateway_figures(server)[0] <= threads, 30, "the threads of the attacks have ended"
        )
        assert gateway_figures(server)[1] < memory * 1.1
        for peer in silent:
            peer.socket.close()

    def test_difficult_series(self, server: RunningServer, pacs: Pacs, cases: Path, sent: Sent) -> None:
        destination = Destination("127.0.0.1", server.dicom_port, "RADMETER", "PACS")
        for folder in sorted((cases / "series").iterdir()):
            paths = sorted(folder.iterdir())
            for path in paths:
                sent.mark(path)
            outcomes = send_instances(paths, destination)
            for one in outcomes:
                answer = one.status if one.status is not None else "not sent"
                sent.note(one.sop_instance_uid, split(one.path.read_bytes())[1], answer)
            if folder.name in NOT_SENT:
                assert not any(one.acknowledged for one in outcomes)
        require_echo(server)

    def test_series_with_one_poisoned_slice(
        self, server: RunningServer, pacs: Pacs, cases: Path, sent: Sent, tmp_path: Path
    ) -> None:
        """Enough slices to be routed, so that the decoder meets what was made for it."""
        destination = Destination("127.0.0.1", server.dicom_port, "RADMETER", "PACS")
        for number, poison in enumerate(POISONS):
            paths = poisoned(cases / "series/plain", tmp_path / poison, number, POISONS[poison])
            for one in send_instances(paths, destination):
                assert one.acknowledged, one.error
                sent.note(one.sop_instance_uid, split(one.path.read_bytes())[1], 0)
        require_echo(server)

    def test_every_study_ends_where_a_person_sees_it_and_why(
        self, server: RunningServer, cases: Path
    ) -> None:
        def all_have_ended() -> bool:
            open_arrivals = server.rows("SELECT 1 FROM arrival WHERE closed_at IS NULL")
            statuses = {row["status"] for row in server.rows("SELECT DISTINCT status FROM study")}
            return not open_arrivals and statuses <= TERMINAL

        server.wait(all_have_ended, 300, "all studies have ended")
        studies = server.rows("SELECT * FROM study")
        assert len(studies) > 80
        for row in studies:
            assert row["status"] == "rejected", (row["status"], row["reason_code"], row["reason_text"])
            assert row["reason_code"]
            assert len(row["reason_text"]) > 20
        codes = {row["study_instance_uid"]: row["reason_code"] for row in studies}
        ended = {
            case: codes[str(pydicom.dcmread(next((cases / "series" / case).iterdir())).StudyInstanceUID)]
            for case in SERIES_CODES
        }
        assert ended == SERIES_CODES
        poisoned = {name: codes[poison_uid(number, "study")] for number, name in enumerate(POISONS)}
        assert DECODED not in poisoned.values()
        events = server.rows("SELECT kind, count(*) AS n FROM billing.usage_event GROUP BY kind")
        assert events == [{"kind": "refused", "n": len(studies)}]
        assert server.rows("SELECT 1 FROM result_object") == []

    def test_the_work_list_shows_them_and_runs_no_script(self, server: RunningServer) -> None:
        with server.signed_in() as client:
            page = client.get("/")
            listed = client.get("/api/v1/studies?limit=500").json()["studies"]
            for study in listed:
                answer = client.get(f"/studies/{study['id']}")
                assert answer.status_code == 200
                assert study["reason"]["code"] in answer.text
                assert "<script>alert" not in answer.text
                assert "<img src=x" not in answer.text
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert len(listed) == len(server.rows("SELECT 1 FROM study"))

    def test_nothing_acknowledged_is_lost(self, server: RunningServer, sent: Sent) -> None:
        rows = {row["sop_instance_uid"]: row for row in server.rows("SELECT * FROM instance")}
        assert len(sent.acknowledged) > 600
        for uid, digest in sent.acknowledged.items():
            assert rows[uid]["blake3"] == digest
            path = server.data / "instances" / rows[uid]["location"]
            assert blake3(split(path.read_bytes())[1]).hexdigest() == digest

    def test_no_file_lies_outside_the_store(self, server: RunningServer) -> None:
        assert not Path("/tmp/pwned").exists()
        beside = {path.name for path in server.sandbox.iterdir()}
        assert beside == {"data", "cwd", "tmp", "server.log", "server.out"}
        assert list((server.sandbox / "cwd").iterdir()) == []
        # The embedded database keeps its lock, and its socket where the data folder's path is too long, in the
        # folder for temporary files.
        left = {path.name for path in (server.sandbox / "tmp").iterdir()}
        assert {name for name in left if not name.startswith("runtime-")} <= {".lockfile"}
        stored = {row["location"] for row in server.rows("SELECT location FROM instance")}
        instances = server.data / "instances"
        files = {str(path.relative_to(instances)) for path in instances.glob("??/*/*")}
        assert files == stored
        assert [path for path in instances.glob("incoming/*/*") if path.name != "lock"] == []

    def test_neither_log_nor_metrics_nor_billing_name_a_patient(
        self, server: RunningServer, sent: Sent
    ) -> None:
        assert len(sent.markers) > 50
        billing = billing_texts(server)
        assert "lung_nodule_ct" in billing
        kept = server.log_path.read_text() + httpx.get(f"{server.url}/metrics").text + billing
        assert [marker for marker in sent.markers if marker in kept] == []
        for row in server.rows("SELECT DISTINCT study_instance_uid AS uid FROM study"):
            if len(row["uid"]) > 12:
                assert row["uid"] not in kept

    def test_the_books_and_the_audit_trail_are_sound(self, server: RunningServer) -> None:
        with owner_connection(server.database_url) as conn:
            assert ledger.check(conn, FIRST_TENANT) == []
            assert audit.find_problems(conn) == []
        assert server.rows("SELECT 1 FROM audit_event WHERE action = 'association_rejected'") != []

    def test_no_process_had_to_be_started_again(self, server: RunningServer) -> None:
        assert "process_ended" not in server.log_path.read_text()

    def test_the_next_good_study_is_served(
        self, server: RunningServer, pacs: Pacs, make_study: MakeStudy
    ) -> None:
        study = make_study("after-all-that")
        destination = Destination("127.0.0.1", server.dicom_port, "RADMETER", "PACS")
        assert all(one.acknowledged for one in send_instances(study.files, destination))
        row = server.wait_for_end(study.study_instance_uid)
        assert (row["status"], row["reason_code"]) == ("delivered", None)
        assert len(pacs.received[study.study_instance_uid]) >= 2
        assert server.stop() == 0
