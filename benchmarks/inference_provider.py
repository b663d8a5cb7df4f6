"""The path of `ct_path` by ONNX Runtime on the CPU and, where there is one, on a GPU: seconds, and whether they agree.

`python -m benchmarks.inference_provider FOLDER` needs no database and no PDF libraries: it runs on a bare GPU machine.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from benchmarks.ct_path import one_engine
from benchmarks.study_path import REAL_CT
from inference.choose import EngineChoice
from inference.onnxruntime_endpoint import CUDA

_REPEATS = 5


def run(folder: Path = REAL_CT) -> dict[str, Any]:
    """From DICOM files to findings and SR and SEG; `first_s` holds imports and the opening of the model."""
    table = {name: one_engine(EngineChoice(provider=name), folder, _REPEATS) for name in _available()}
    if "cuda" in table:
        table["agreement"] = _agreement(*(table[name]["findings"] for name in ("cpu", "cuda")))
    for name in _available():
        del table[name]["findings"]
    return table


def _available() -> list[str]:
    return ["cpu", "cuda"] if CUDA in onnxruntime.get_available_providers() else ["cpu"]


def _agreement(cpu: list[dict[str, Any]], gpu: list[dict[str, Any]]) -> dict[str, Any]:
    """Largest differences between findings of the same rank; the counts must be equal for them to mean something."""
    pairs = list(zip(cpu, gpu, strict=False))
    centers = [np.subtract(one["center_lps_mm"], other["center_lps_mm"]) for one, other in pairs]
    return {
        "same_count": len(cpu) == len(gpu),
        "score_difference_max": max(
            (abs(one["score"] - other["score"]) for one, other in pairs), default=0.0
        ),
        "center_difference_mm_max": max((float(np.linalg.norm(gap)) for gap in centers), default=0.0),
    }


if __name__ == "__main__":
    print(json.dumps(run(*map(Path, sys.argv[1:])), indent=1))
