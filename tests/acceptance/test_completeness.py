"""A study is processed once however it arrives; what comes late supersedes, and is charged once (attacks 36, 37)."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest

from tests.acceptance.conftest import MakeStudy
from tests.acceptance.test_study_to_statement import command, pacs, usage
from tests.archive_peers import orthanc
from tests.conftest import ROOT
from tests.server_process import RunningServer

__all__ = ["pacs"]  # a fixture

Push = Callable[[list[Path]], None]


def dcmsend(server: RunningServer, files: list[Path], calling: str = "PACS") -> None:
    """One association."""
    sent = subprocess.run(
        ["dcmsend", "-aet", calling, "-aec", "RADMETER", "127.0.0.1", str(server.dicom_port), *map(str, files)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert sent.returncode == 0, sent.stderr


@contextmanager
def dcmsend_pushes(server: RunningServer, folder: Path, quiet_time_s: float) -> Iterator[Push]:
    with orthanc(folder, plugins=()) as destination:
        server.add_peer("ORTHANC", destination.port)
        server.add_peer("PACS", 1, quiet_time_s=quiet_time_s, result_destination="ORTHANC")
        yield lambda files: dcmsend(server, files)


@contextmanager
def orthanc_pushes(server: RunningServer, folder: Path, quiet_time_s: float) -> Iterator[Push]:
    """Orthanc holds the study and pushes what its user picks, each time over one association."""
    more = {
        "DicomModalities": {"gateway": ["RADMETER", "127.0.0.1", server.dicom_port]},
        "OverwriteInstances": False,
    }
    with orthanc(folder, plugins=(), more=more) as sender:
        server.add_peer("ORTHANC", sender.port, quiet_time_s=quiet_time_s)

        def push(files: list[Path]) -> None:
            uploaded = [_post(f"{sender.http_port}/instances", path.read_bytes())["ID"] for path in files]
            _post(f"{sender.http_port}/modalities/gateway/store", json.dumps(uploaded).encode())

        yield push


def _post(address: str, body: bytes) -> dict[str, object]:
    with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{address}", body)) as answer:
        return json.load(answer)


@pytest.mark.peer
@pytest.mark.parametrize(
    ("pushes", "gap_s", "quiet_time_s"),
    [
        pytest.param(dcmsend_pushes, 4.0, 20.0, id="4 s gap-dcmsend_pushes"),
        pytest.param(orthanc_pushes, 4.0, 20.0, id="4 s gap-orthanc_pushes", marks=pytest.mark.soak),
        pytest.param(dcmsend_pushes, 40.0, 60.0, id="40 s gap-dcmsend_pushes", marks=pytest.mark.soak),
        pytest.param(orthanc_pushes, 40.0, 60.0, id="40 s gap-orthanc_pushes", marks=pytest.mark.soak),
    ],
)
def test_275_jpeg_ls_slices_over_three_associations_with_a_pause_are_processed_once(
    start_server: Callable[..., RunningServer], shared_data: Path, tmp_path: Path,
    pushes: Callable[..., Iterator[Push]], gap_s: float, quiet_time_s: float,
) -> None:  # fmt: skip
    files = sorted((shared_data / "ct_chest_lidc0314_1mm/dicom").glob("*.dcm"))
    assert len(files) == 275
    server = start_server()
    with pushes(server, tmp_path, quiet_time_s) as push:
        require_once(server, files, push, gap_s)


@pytest.mark.peer
def test_what_an_archive_pushes_over_three_associations_with_a_pause_is_processed_once(
    start_server: Callable[..., RunningServer], make_study: MakeStudy, tmp_path: Path
) -> None:
    study = make_study("archive")
    server = start_server()
    with orthanc_pushes(server, tmp_path, 15.0) as push:
        require_once(server, list(study.files), push, 4.0)


def require_once(server: RunningServer, files: list[Path], push: Push, gap_s: float) -> None:
    """Push the study in thirds with pauses between them: one arrival, one revision, delivered."""
    third = len(files) // 3
    for part in (files[:third], files[third : 2 * third]):
        push(part)
        time.sleep(gap_s)
    push(files[2 * third :])
    uid = str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
    row = server.wait_for_end(uid, timeout_s=400)
    assert (row["status"], row["revision"], row["reason_code"]) == ("delivered", 1, None)
    count = len(files)
    assert server.rows("SELECT count(*) AS n FROM instance") == [{"n": count}]
    assert server.rows("SELECT outcome, new_count FROM arrival") == [
        {"outcome": "assembled", "new_count": count}
    ]
    assert server.rows("SELECT count(*) AS n FROM association WHERE how = 'released'")[0]["n"] >= 3
    assert f"{count} images, then quiet for" in row["completion"]


def test_late_slices_supersede_the_report_and_a_second_pacs_changes_nothing_and_one_case_is_charged(
    start_server: Callable[..., RunningServer], make_study: MakeStudy, pacs: tuple[int, Path]
) -> None:
    port, received = pacs
    server = start_server()
    server.add_peer("PACS", port)
    server.add_peer("OTHERPACS", port, result_destination="PACS")
    contract_id = command(server, "contract", "add", ROOT / "examples/contract_per_case.yaml").split()[-1]
    study = make_study("late")

    dcmsend(server, list(study.files[:-3]))
    first = server.wait_for_end(study.study_instance_uid)
    assert (first["status"], first["revision"], first["reason_code"]) == ("delivered", 1, None)
    before = {one.SOPInstanceUID: one for one in map(pydicom.dcmread, received.iterdir())}
    dcmsend(server, list(study.files[-3:]))
    server.wait(lambda: server.study(study.study_instance_uid)["revision"] == 2, 60, "late slices are seen")
    second = server.wait_for_end(study.study_instance_uid)
    assert second["status"] == "delivered"
    server.wait(lambda: any("KO" in path.name[:3] for path in received.iterdir()), 30, "the note is sent")

    after = {one.SOPInstanceUID: one for one in map(pydicom.dcmread, received.iterdir())}
    new = {str(one.Modality): one for uid, one in after.items() if uid not in before}
    (old_report,) = (one for one in before.values() if one.Modality == "SR")
    predecessor = (
        new["SR"].PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    )
    assert predecessor.ReferencedSOPInstanceUID == old_report.SOPInstanceUID
    rejected = {
        one.ReferencedSOPInstanceUID
        for series in new["KO"].CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }
    assert rejected == set(before)

    dcmsend(server, list(study.files), calling="OTHERPACS")
    with server.signed_in() as client:
        server.wait(lambda: len(usage(client, second["id"])) == 3, 30, "the second PACS is seen")
        assert usage(client, second["id"]) == [
            ("result_delivered", "billable", "first_delivery"),
            ("result_delivered", "not_billable", "already_charged"),
            ("seen_again", "not_billable", "seen_again"),
        ]
        assert "superseded" in client.get(f"/studies/{second['id']}").text
    assert server.study(study.study_instance_uid)["revision"] == 2
    statement = command(server, "statement", "draft", contract_id)
    assert "106.00" in statement
    assert "212.00" not in statement
