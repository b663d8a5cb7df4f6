"""The README's first command, on a small study of one's own, as real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.acceptance.conftest import MakeStudy
from tests.server_process import two_free_ports

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_demo_shows_the_path_of_a_study_its_results_and_its_statement(
    make_study: MakeStudy, tmp_path: Path
) -> None:
    dicom_port, http_port = two_free_ports()
    settings = {
        "RADMETER_DATA": str(tmp_path / "data"),
        "RADMETER_DICOM_PORT": str(dicom_port),
        "RADMETER_HTTP_PORT": str(http_port),
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "160",
    }
    done = subprocess.run(
        [sys.executable, "-m", "server", "demo", str(make_study("demo").folder), "--no-stay"],
        cwd=tmp_path,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for words in ("objects acknowledged by", "result_delivered", "Traceback"):
        assert (words in done.stdout) is (words != "Traceback"), done.stdout[-3000:]
