"""Seconds for each step and peak memory, for one chest CT: without a server, and through the whole of it."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.process_memory import measure
from server.demo.phantom import phantom_study

ROOT = Path(__file__).resolve().parent.parent
REAL_CT = ROOT.parent / "shared" / "data" / "ct_chest_lidc0314_1mm" / "dicom"
_REPEATS = 3
_TIMEOUT_S = 600.0
# Shells, linkers and other helpers of a moment stay out of the table.
_OF_NOTE_MIB = 20.0


def run() -> dict[str, Any]:
    """`analyze`: median of three runs in fresh processes. `server`: one run of the demo, started anew."""
    with tempfile.TemporaryDirectory(prefix="radmeter-bench-") as name:
        folder = Path(name)
        study, source = _study(folder)
        return {
            "input": {"source": source, "slice_count": sum(1 for path in study.rglob("*") if is_dicom(path))},
            "analyze": _analyze(study, folder),
            "server": _server(study, folder),
        }


def _study(folder: Path) -> tuple[Path, str]:
    if REAL_CT.is_dir():
        return REAL_CT, "real chest CT, 1 mm, JPEG-LS"
    return phantom_study(folder / "phantom")[0], "synthetic chest CT"


def _analyze(study: Path, folder: Path) -> dict[str, Any]:
    runs, peaks = [], []
    for repeat in range(_REPEATS):
        out = folder / f"analyze-{repeat}"
        command = [sys.executable, "-m", "server", "analyze", str(study), "--out", str(out)]
        measured = measure(command, os.environ, folder / "analyze.log", _TIMEOUT_S)
        if measured.exit_code != 0:
            raise RuntimeError(f"radmeter analyze ended with {measured.exit_code}: {measured.output[-2000:]}")
        result = json.loads((out / "result.json").read_text())
        runs.append(result["timing_s"] | {"command": measured.wall_s})
        peaks.append(measured.peak_rss_mib)
    return {
        "seconds": {step: round(statistics.median(run[step] for run in runs), 2) for step in runs[0]},
        "peak_rss_mib": _of_note({kind: max(peak.get(kind, 0.0) for peak in peaks) for kind in peaks[0]}),
    }


def _server(study: Path, folder: Path) -> dict[str, Any]:
    environment = os.environ | {"RADMETER_DATA": str(folder / "data")}
    command = [sys.executable, "-m", "server", "demo", str(study), "--no-stay"]
    measured = measure(command, environment, folder / "demo.log", _TIMEOUT_S)
    if measured.exit_code != 0:
        raise RuntimeError(f"radmeter demo ended with {measured.exit_code}: {measured.output[-2000:]}")
    return {
        "seconds": {"start_to_statement_and_stop": round(measured.wall_s, 1)},
        "peak_rss_mib": _of_note(measured.peak_rss_mib),
    }


def _of_note(peak_rss_mib: dict[str, float]) -> dict[str, int]:
    return {kind: round(mib) for kind, mib in peak_rss_mib.items() if mib >= _OF_NOTE_MIB}


def is_dicom(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"
