"""One chest CT from DICOM bytes to findings: our path by engine, and MONAI's own route with the same network.

Each engine runs in a fresh process, whose peak memory counts together with that of its decoding children. MONAI's route
needs .venv-train; without it its part is left out and says so. On the reference CT (275 slices of
1 mm, JPEG-LS) it takes a minute or two of two quiet cores, ours some seconds. The model
that names lobes is left out on both sides.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.growth import growing_series
from benchmarks.process_memory import measure
from benchmarks.stacking import stacking
from benchmarks.study_path import REAL_CT, ROOT, is_dicom
from dicom_gateway.decode import DecodeLimits, decode_series
from dicom_gateway.encode_seg import encode_seg
from dicom_gateway.encode_sr import encode_sr
from dicom_gateway.inspect import inspect_study
from dicom_gateway.result_context import ResultContext
from dicom_gateway.source_headers import read_headers
from inference.choose import EngineChoice, make_endpoint
from inference.infer import InferenceResult, identity_of, run_model
from models.model import Model
from models.registry import get_model
from study.study import Study
from study.volume import Volume

TRAINING_PYTHON = ROOT / ".venv-train" / "bin" / "python"
ENGINES = (("onnxruntime", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8"))
SLICE_COUNTS = (50, 100, 200, 400, 1000)
_REPEATS = 5
_TIMEOUT_S = 3600.0
# Everything but the network, in the words of the bar.
_REST = ("decode", "preprocess", "postprocess", "encode")
WANTED = {
    "monai_by_ours": "at least 15",
    "rest_by_network": "at most 1.5",
    "share_of_peak": "at least 0.8",
    "peak_memory_mib": "at most 2048",
}


def run(folder: Path = REAL_CT) -> dict[str, Any]:
    """Medians of five warm repetitions; `first_s` holds imports, opening the model and the first run."""
    model = get_model("lung_nodule_ct")
    engines = [one for one in ENGINES if one[1] != "int8" or "int8" in model.manifest.precisions]
    with tempfile.TemporaryDirectory(prefix="radmeter-bench-") as name:
        scratch = Path(name)
        files = scratch / "dicom"
        files.mkdir()
        for path in sorted(filter(is_dicom, folder.iterdir())):
            shutil.copy(path, files)
        ours = {" ".join(one): _fresh(one, files, scratch) for one in engines}
        record: dict[str, Any] = {"slice_count": len(list(files.iterdir())), "ours": ours}
        box = ours["openvino fp32"]["box"]
        record["peak"] = peak_gflop_per_s()
        record["monai"] = monai = _monai(files, box, scratch)
        record["bars"] = _bars(ours, monai, record["peak"])
        record["growth"] = _growth(files, scratch)
        record["stacking"] = stacking(box)
        for one in (*ours.values(), monai):
            one.pop("findings", None)
            one.pop("candidates", None)
        return record


def _bars(ours: dict[str, Any], monai: dict[str, Any], peak: dict[str, float]) -> dict[str, Any]:
    """What the figures come to. `rest_by_network`: everything but the network, by its time in fp32 on each engine."""
    fp32 = {name: one["warm_s"] for name, one in ours.items() if name.endswith("fp32")}
    bars: dict[str, Any] = {
        "wanted": WANTED,
        "rest_by_network": {
            name: round(sum(warm[step] for step in _REST) / warm["infer"], 2) for name, warm in fp32.items()
        },
        "peak_memory_mib": {name: one["peak_memory_mib"] for name, one in ours.items()},
    }
    if "total_s" not in monai:
        return bars
    best = max(peak["matmul"], peak["convolution"])
    bars["share_of_peak"] = {
        name: round(monai["gflop"] / warm["infer"] / best, 3) for name, warm in fp32.items()
    }
    bars["monai_by_ours"] = {
        name: round(monai["total_s"] / one["warm_s"]["total"], 1) for name, one in ours.items()
    }
    bars["same_findings"] = {name: _same(one["findings"], monai["candidates"]) for name, one in ours.items()}
    return bars


def _same(findings: list[dict[str, Any]], candidates: list[dict[str, Any]]) -> dict[str, Any]:
    """Each of our findings has a candidate of MONAI's route within 2 mm; that one has others that lie in no lung."""
    gaps, scores = [], []
    for finding in findings:
        places = [np.subtract(finding["center_lps_mm"], one["center_lps_mm"]) for one in candidates]
        distances = [float(np.linalg.norm(place)) for place in places]
        nearest = int(np.argmin(distances)) if distances else 0
        if distances and distances[nearest] <= 2.0:
            gaps.append(distances[nearest])
            scores.append(abs(finding["score"] - candidates[nearest]["score"]))
    return {
        "ours": len(findings),
        "monai_too": len(gaps),
        "center_difference_mm_max": max(gaps, default=None),
        "score_difference_max": max(scores, default=None),
        "only_monai": len(candidates) - len(gaps),
    }


def peak_gflop_per_s() -> dict[str, float]:
    """What this machine multiplies and adds at best: a matrix product, and a convolution that fits its caches."""
    from openvino import Core, Model, opset13

    matrix = np.random.default_rng(0).random((3072, 3072), np.float32)
    product_s = best_of(lambda: matrix @ matrix, 5)
    image = opset13.parameter((1, 64, 48, 48, 48), np.float32)
    kernel = opset13.constant(np.random.default_rng(1).random((64, 64, 3, 3, 3), np.float32))
    ones, pads = [1, 1, 1], [1, 1, 1]
    graph = Model([opset13.convolution(image, kernel, ones, pads, pads, ones)], [image])
    compiled = Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request, values = compiled.create_infer_request(), np.ones((1, 64, 48, 48, 48), np.float32)
    convolution_s = best_of(lambda: request.infer({0: values}), 10)
    return {
        "matmul": round(2 * 3072**3 / product_s / 1e9, 1),
        "convolution": round(2 * 64 * 64 * 27 * 48**3 / convolution_s / 1e9, 1),
    }


def best_of(work: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest repetition."""
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _fresh(engine: tuple[str, str], files: Path, scratch: Path, repeats: int = _REPEATS) -> dict[str, Any]:
    out = scratch / "ours.json"
    command = [sys.executable, "-m", "benchmarks.ct_path", *engine, str(files), str(out), str(repeats)]
    measured = measure(command, os.environ, scratch / "ours.log", _TIMEOUT_S)
    if measured.exit_code != 0:
        raise RuntimeError(f"{' '.join(engine)} ended with {measured.exit_code}: {measured.output[-2000:]}")
    record: dict[str, Any] = json.loads(out.read_text())
    return record | {"peak_memory_mib": round(measured.peak_together_mib)}


def _monai(files: Path, box: Sequence[int], scratch: Path) -> dict[str, Any]:
    if not TRAINING_PYTHON.exists():
        return {"left_out": "there is no .venv-train: make test-train makes it"}
    out = scratch / "monai.json"
    command = [
        str(TRAINING_PYTHON),
        "-m",
        "benchmarks.monai_route",
        str(files),
        str(out),
        "--box",
        *map(str, box),
    ]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=_TIMEOUT_S)
    record: dict[str, Any] = json.loads(out.read_text())
    return record


def _growth(files: Path, scratch: Path) -> dict[str, Any]:
    """The same path for series of 50 to 1,000 slices; with linear growth the seconds of a slice stay the same."""
    table: dict[str, Any] = {}
    for count in SLICE_COUNTS:
        folder = growing_series(files, scratch / f"slices-{count}", count)
        one = _fresh(("openvino", "fp32"), folder, scratch, repeats=1)
        total_s = one["warm_s"]["total"]
        table[str(count)] = {
            "total_s": round(total_s, 2),
            "ms_per_slice": round(total_s / count * 1000, 2),
            "peak_memory_mib": one["peak_memory_mib"],
        }
        shutil.rmtree(folder)
    return table


def one_engine(choice: EngineChoice, folder: Path, repeats: int) -> dict[str, Any]:
    """The path `repeats` times after a first one, in this process."""
    began = time.perf_counter()
    model, endpoint = get_model("lung_nodule_ct"), make_endpoint(choice)
    with tempfile.TemporaryDirectory(prefix="radmeter-bench-") as scratch:
        repetition = [_once(model, endpoint, folder, Path(scratch))]
        first_s = time.perf_counter() - began
        repetition += [_once(model, endpoint, folder, Path(scratch)) for _ in range(repeats)]
    steps = [seconds for seconds, _, _ in repetition[1:]]
    _, result, box = repetition[-1]
    return {
        "first_s": round(first_s, 3),
        "warm_s": {step: round(statistics.median(one[step] for one in steps), 4) for step in steps[0]},
        "engines": [str(one) for one in result.engines],
        "box": box,
        "findings": [dataclasses.asdict(f) | {"segment": None} for f in result.findings],
        "finding_count": len(result.findings),
    }


def _once(
    model: Model, endpoint: Any, folder: Path, scratch: Path
) -> tuple[dict[str, float], InferenceResult, list[int]]:
    marks = [time.perf_counter()]
    study = inspect_study([(str(path), path) for path in sorted(folder.iterdir())]).study
    marks.append(time.perf_counter())
    series = max(study.series, key=lambda one: len(one.instances))
    volume = decode_series(series, Path("/"), scratch, DecodeLimits(is_durable=False))
    marks.append(time.perf_counter())
    result = run_model(model, volume, endpoint)
    marks.append(time.perf_counter())
    _encode(model, study, volume, result)
    marks.append(time.perf_counter())
    seconds = {"inspect": marks[1] - marks[0], "decode": marks[2] - marks[1], **result.timing_s}
    # Findings are there after postprocess; what is encoded of them comes after, and is told beside.
    seconds |= {"total": marks[3] - marks[0], "encode": marks[4] - marks[3]}
    box = model.preprocess(volume).batches[0]["hounsfield"].shape[1:]
    return seconds, result, [int(side) for side in box]


def _encode(model: Model, study: Study, volume: Volume, result: InferenceResult) -> None:
    """SR and SEG; the PDF of the report is made beside them for people, and is no part of this path."""
    location = {
        one.sop_instance_uid: Path(one.location) for series in study.series for one in series.instances
    }
    identity = identity_of(model.manifest)
    context = ResultContext(
        uid_seed="benchmark",
        source_headers=read_headers([location[uid] for uid in volume.slice_sop_instance_uids]),
        image=volume,
        findings=result.findings,
        model_name=identity.name,
        model_version=identity.version,
        weights_sha256=identity.weights_sha256,
        publisher=model.manifest.publisher,
        clearance_status=identity.clearance_status,
        intended_use=identity.intended_use,
        created_at=datetime.now(UTC),
    )
    encode_sr(context)
    encode_seg(context)


def main() -> None:
    parser = argparse.ArgumentParser(description="One engine, for `run`; its record as JSON into OUT.")
    parser.add_argument("engine")
    parser.add_argument("precision")
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("repeats", type=int)
    options = parser.parse_args()
    choice = EngineChoice(options.engine, precision=options.precision)
    record = one_engine(choice, options.folder, options.repeats)
    options.out.write_text(json.dumps(record, default=str))


if __name__ == "__main__":
    main()
