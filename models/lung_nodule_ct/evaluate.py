"""Evaluates the served model on held-out phantoms, through the same code that serves it.

    python -m models.lung_nodule_ct.evaluate --data DIR --out evaluation.json [--manifest manifest.toml]

The operating point is the lowest threshold with at most 1/4 false positives per scan on the validation
phantoms; the test phantoms only measure. With --manifest it is written there.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.evaluation.froc import Marked, Match, Matches, Real, match
from models.lung_nodule_ct import dataset
from models.lung_nodule_ct.phantom import Phantom
from models.lung_nodule_ct.postprocess import detections
from models.lung_nodule_ct.preprocess import LungBox, preprocess
from models.manifest import Manifest, load_manifest
from models.weights import verified_weights
from study.volume import Volume

Run = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]

LOWEST_SCORE = 0.01
OPERATING_RATE = 0.25
SIZES_MM = {
    "under 6 mm": (0.0, 6.0),
    "6 to 10 mm": (6.0, 10.0),
    "10 to 30 mm": (10.0, 30.01),
    "masses over 30 mm": (30.01, np.inf),
}


def evaluate(
    data: Path, manifest: Manifest, run: Run, *, report: Callable[[str], None] = print
) -> dict[str, Any]:
    """The record that goes into evaluation.json; `run` runs the model's graph once."""
    found = {}
    for split in ("validation", "test", "masses"):
        paths = sorted(data.glob(f"{split}_*.npz"))
        if not paths:
            raise FileNotFoundError(
                f"no {split}_*.npz in {data}: make them with models.lung_nodule_ct.dataset"
            )
        found[split] = match([_scan(path, manifest, run, report) for path in paths])
    threshold = round(float(np.ceil(found["validation"].threshold_at(OPERATING_RATE) * 1000) / 1000), 3)
    return {
        "what": "synthetic phantoms made by models.lung_nodule_ct.phantom; says nothing about patients",
        "model": {"name": manifest.name, "weights_sha256": manifest.weights_sha256},
        "command": "python -m models.lung_nodule_ct.evaluate --data DIR --out evaluation.json",
        "hit_rule": "centre within the nodule's radius (LUNA16)",
        "operating_point": {
            "rule": f"at most {OPERATING_RATE} false positives per scan on the validation phantoms",
            "threshold": threshold,
        },
        **{split: _record(matches, split, threshold) for split, matches in found.items()},
    }


def volume_of(phantom: Phantom) -> Volume:
    """A phantom as a decoded supine series would be: slices upwards, rows backwards, columns to the left."""
    z, y, x = phantom.spacing_mm
    affine = np.array([[0, 0, x, -160], [0, y, 0, -128], [z, 0, 0, -300], [0, 0, 0, 1]], np.float64)
    count = phantom.voxels.shape[0]
    uids = tuple(f"2.25.{phantom.seed}{slice_:04d}" for slice_ in range(count))
    return Volume(phantom.voxels, affine, uids, (1,) * count, f"2.25.{phantom.seed}", "2.25.1")


def _scan(
    path: Path, manifest: Manifest, run: Run, report: Callable[[str], None]
) -> tuple[list[Marked], list[Real]]:
    phantom = dataset.read(path)
    volume = volume_of(phantom)
    prepared = preprocess(volume, manifest.spacing_mm)
    assert isinstance(prepared.context, LungBox)
    runs = [run(batch) for batch in prepared.batches]
    outputs = {name: np.concatenate([one[name] for one in runs]) for name in manifest.outputs}
    spacing = np.array(phantom.spacing_mm)
    marked = [
        Marked(_mm(d.center_index, spacing), d.diameter_mm, d.score)
        for d in detections(outputs, prepared.context, volume, LOWEST_SCORE)
    ]
    truths = [Real(_mm(n.center_index, spacing), n.diameter_mm, n.kind) for n in phantom.truth]
    report(f"{path.name}: {len(truths)} nodules, {len(marked)} marks above {LOWEST_SCORE}")
    return marked, truths


def _mm(index: tuple[float, float, float], spacing: NDArray[np.float64]) -> tuple[float, float, float]:
    z, y, x = np.array(index) * spacing
    return float(z), float(y), float(x)


def _record(matches: Matches, split: str, threshold: float) -> dict[str, Any]:
    froc = matches.froc()
    at_one = matches.threshold_at(1.0)
    groups: dict[str, list[Match]] = {
        name: [m for m in matches.nodules if low <= m.truth.diameter_mm < high]
        for name, (low, high) in SIZES_MM.items()
    }
    for kind in ("solid", "part-solid", "ground-glass"):
        groups[kind] = [m for m in matches.nodules if m.truth.kind == kind]
    hits = [(m.truth, m.hit) for m in matches.nodules if m.hit and m.score >= threshold]
    centers = [float(np.linalg.norm(np.subtract(t.center_mm, h.center_mm))) for t, h in hits]
    sizes = [abs(t.diameter_mm - h.diameter_mm) for t, h in hits]
    return {
        "phantoms": matches.scans,
        "first_seed": dataset.FIRST_SEED[split],
        "nodules": len(matches.nodules),
        "sensitivity_at_false_positives_per_scan": {f"{rate:g}": round(s, 4) for rate, s in froc.items()},
        "cpm": round(float(np.mean(list(froc.values()))), 4),
        "at_operating_point": _point(matches, threshold, groups),
        "at_1_false_positive_per_scan": _point(matches, at_one, groups),
        "median_center_error_mm": round(float(np.median(centers)), 2) if centers else None,
        "median_diameter_error_mm": round(float(np.median(sizes)), 2) if sizes else None,
    }


def _point(matches: Matches, threshold: float, groups: Mapping[str, Sequence[Match]]) -> dict[str, Any]:
    return {
        "threshold": round(threshold, 4),
        "false_positives_per_scan": round(matches.false_positives_per_scan(threshold), 3),
        "sensitivity": round(matches.sensitivity(threshold), 4),
        "by_group": {
            name: {"nodules": len(group), "sensitivity": round(matches.sensitivity(threshold, group), 4)}
            for name, group in groups.items() if group
        },
    }  # fmt: skip


def onnxruntime_run(manifest: Manifest) -> Run:
    """Runs the graph in this process. Serving has its own, stricter endpoint."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(verified_weights(manifest)), providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        contiguous = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        return dict(zip(names, session.run(names, contiguous), strict=True))

    return run


def write_operating_point(manifest: Path, threshold: float) -> None:
    """Put the threshold into a manifest.toml."""
    text = manifest.read_text("utf-8")
    line = f"operating_threshold = {threshold}"
    manifest.write_text(re.sub(r"(?m)^operating_threshold = .*$", line, text), "utf-8")


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=Path(__file__).parent, help="folder with manifest.toml")
    parser.add_argument("--manifest", type=Path, help="write the operating point into this manifest.toml")
    options = parser.parse_args()
    manifest = load_manifest(options.model)

    def report(line: str) -> None:
        parser._print_message(line + "\n")

    record = evaluate(options.data, manifest, onnxruntime_run(manifest), report=report)
    options.out.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    if options.manifest:
        write_operating_point(options.manifest, record["operating_point"]["threshold"])


if __name__ == "__main__":
    main()
