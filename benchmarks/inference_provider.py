"""One chest CT through the model on the CPU and, where there is one, on a GPU: seconds, and whether they agree.

`python -m benchmarks.inference_provider` alone needs no database and no PDF libraries: it runs on a bare GPU machine.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from dicom_gateway.decode import decode_series
from dicom_gateway.inspect import inspect_study
from inference.infer import InferenceResult, run_model
from inference.onnxruntime_endpoint import CUDA, PROVIDERS, OnnxRuntimeEndpoint
from models.registry import get_model

ROOT = Path(__file__).resolve().parent.parent
REAL_CT = ROOT.parent / "shared" / "data" / "ct_chest_lidc0314_1mm" / "dicom"
_REPEATS = 5


def run(folder: Path = REAL_CT) -> dict[str, Any]:
    """Seconds from DICOM files to findings; `first` holds the opening of the session, `warm` is the median of five."""
    files = [(str(path), path) for path in sorted(folder.iterdir()) if path.is_file()]
    study = inspect_study(files).study
    series = max(study.series, key=lambda one: len(one.instances))
    model = get_model("lung_nodule_ct")
    results: dict[str, InferenceResult] = {}
    table: dict[str, Any] = {"slice_count": len(series.instances)}
    with tempfile.TemporaryDirectory(prefix="radmeter-bench-") as scratch:
        began = time.perf_counter()
        volume = decode_series(series, Path("/"), Path(scratch))
        table["decode_s"] = round(time.perf_counter() - began, 3)
        for name in _available():
            endpoint = OnnxRuntimeEndpoint(provider=PROVIDERS[name])
            began = time.perf_counter()
            run_model(model, volume, endpoint)
            first = time.perf_counter() - began
            warm = []
            for _ in range(_REPEATS):
                results[name] = run_model(model, volume, endpoint)
                warm.append(results[name].timing_s)
            table[name] = {
                "first_s": round(first, 3),
                "warm": {
                    f"{step}_s": round(statistics.median(one[step] for one in warm), 4) for step in warm[0]
                },
                "findings": len(results[name].findings),
            }
    if len(results) > 1:
        table["agreement"] = _agreement(results["cpu"], results["cuda"])
    return table


def _available() -> list[str]:
    return ["cpu", "cuda"] if CUDA in onnxruntime.get_available_providers() else ["cpu"]


def _agreement(cpu: InferenceResult, gpu: InferenceResult) -> dict[str, Any]:
    """Largest differences between findings of the same rank; the counts must be equal for them to mean something."""
    pairs = list(zip(cpu.findings, gpu.findings, strict=len(cpu.findings) == len(gpu.findings)))
    centers = [np.subtract(one.center_lps_mm, other.center_lps_mm) for one, other in pairs]
    return {
        "same_count": len(cpu.findings) == len(gpu.findings),
        "score_difference_max": max((abs(one.score - other.score) for one, other in pairs), default=0.0),
        "center_difference_mm_max": max((float(np.linalg.norm(gap)) for gap in centers), default=0.0),
    }


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1])) if len(sys.argv) > 1 else run(), indent=1))
