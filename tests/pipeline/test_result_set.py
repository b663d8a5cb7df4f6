"""A whole result set from files as they were received: inspected, decoded, encoded, read by validators."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from dicom_gateway.decode import decode_series
from dicom_gateway.inspect import inspect_study
from pipeline.check_results import check_result_set
from pipeline.report_view import ReportState
from pipeline.result_set import RESULT_KINDS, ResultSet, make_result_set
from study.answer import Answer
from study.volume import Volume
from tests.report_builders import manifest
from tests.result_builders import CREATED_AT, ball

CASES = {
    "jpeg-ls, 275 slices": "ct_chest_lidc0314_1mm/dicom",
    "jpeg lossless, sparse header": "ct_chest_4dlung_113/dicom",
    "rle, 8 mm": "ct_chest_lungdx_A0002/dicom",
    "tilted gantry": "ct_geometry/gantry_tilt_philips",
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def made(request: pytest.FixtureRequest, shared_data: Path, tmp_path: Path) -> tuple[Path, ResultSet, Volume]:
    source = shared_data / request.param
    study = inspect_study([(path.name, path) for path in sorted(source.glob("*.dcm"))]).study
    series = max(study.series, key=lambda one: len(one.instances))
    volume = decode_series(series, source, tmp_path / "volume")
    index = np.asarray(
        [volume.voxels.shape[0] // 2, volume.voxels.shape[1] // 2, volume.voxels.shape[2] // 3]
    )
    finding = ball(volume, volume.to_lps_mm(index.astype(float)), 14.0)
    results = make_result_set(
        study,
        volume,
        Answer((finding,)),
        manifest(),
        study_id="study-1",
        uid_seed="input-1",
        revision=1,
        created_at=CREATED_AT,
        instances_root=source,
        language="zh",
        kinds=RESULT_KINDS,
    )
    return source, results, volume


@pytest.mark.peer
def test_a_result_set_of_received_files_passes_our_gate_and_the_validators(
    made: tuple[Path, ResultSet, Volume], tmp_path: Path
) -> None:
    source, results, volume = made
    verdict = check_result_set(
        results.objects,
        results.sources,
        model_name=manifest().name,
        model_version=manifest().version,
        image=volume,
    )
    assert verdict.problems == ()
    assert [one.kind for one in results.objects] == [
        "SR", "SEG", "PM", "PDF", "SR2D", "GSPS", "TEXT", "KEYS", "SC",
    ]  # fmt: skip
    assert results.view.state is ReportState.FINDINGS
    files = []
    for one in results.objects:
        path = tmp_path / one.kind
        path.write_bytes(one.content)
        files.append(str(path))
        assert _errors("dciodvfy", str(path)) == []
    assert _errors("dcentvfy", *(str(path) for path in sorted(source.glob("*.dcm"))), *files) == []


def _errors(*command: str) -> list[str]:
    completed = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return [line for line in (completed.stdout + completed.stderr).splitlines() if line.startswith("Error")]
