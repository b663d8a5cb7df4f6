"""Series far longer than usual, from files to result by the command line, and the memory that they need at most."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.growth import growing_series
from benchmarks.process_memory import Measured, measure
from dicom_gateway.write_ct import write_ct_series

MIB_MAX = 4096


def analyze(series: Path, scratch: Path) -> Measured:
    command = [sys.executable, "-m", "server", "analyze", str(series), "--out", str(scratch / "out")]
    return measure(command, os.environ, scratch / "log", timeout_s=1200)


@pytest.mark.soak
def test_a_real_chest_of_1000_slices_is_analysed_within_4_gib(shared_data: Path, tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    for path in (shared_data / "ct_chest_lidc0314_1mm" / "dicom").glob("*.dcm"):
        (real / path.name).symlink_to(path)
    series = growing_series(real, tmp_path / "in", 1000)
    measured = analyze(series, tmp_path)
    assert measured.exit_code == 0, measured.output
    assert "1000" in measured.output
    # Of all processes at once, as if each stood at its peak at the same moment.
    assert sum(measured.peak_rss_mib.values()) < MIB_MAX, measured.peak_rss_mib


@pytest.mark.soak
def test_5000_slices_are_refused_with_their_number_before_anything_is_decoded(tmp_path: Path) -> None:
    write_ct_series(np.zeros((5000, 16, 16), np.int16), (0.3, 1.0, 1.0), tmp_path / "in")
    measured = analyze(tmp_path / "in", tmp_path)
    assert measured.exit_code != 0
    assert "5000" in measured.output
    assert "2000" in measured.output
    assert sum(measured.peak_rss_mib.values()) < 1024, measured.peak_rss_mib
