"""Writes the graph for int8 beside the served one, pins it, and measures it on held-out phantoms. Needs `train`.

    python -m models.lung_nodule_ct.quantise --out model.int8.onnx --manifest manifest.toml

Weights and activations of the convolutions and of the residual sums become 8 bits, with ranges seen on phantoms of the
training split; the head and what decodes its peaks stay as they are, for scores and centres must not be rounded.
It pays on OpenVINO; ONNX Runtime gains nothing from it on processors. Run it again whenever the weights change.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from models.lung_nodule_ct.dataset import FIRST_SEED
from models.lung_nodule_ct.evaluate import volume_of
from models.lung_nodule_ct.phantom import Phantom, make_phantom
from models.lung_nodule_ct.postprocess import detections
from models.lung_nodule_ct.preprocess import LungBox, preprocess
from models.manifest import Manifest, load_manifest
from models.ops.resample import resample_box
from models.weights import verified_weights

# Phantoms of the splits train and test, at a spacing that is quick to make.
SPACING_MM = (1.25, 0.8, 0.8)
PATCH = 96
INPUT, HEAD = "hounsfield", ".head.weight"
Run = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]


def quantise(weights: Path, out: Path, phantoms: int) -> str:
    """Write `out` and return its SHA-256."""
    chosen = quantised_nodes(onnx.load(weights).graph)
    with tempfile.TemporaryDirectory() as folder:
        # Reading ranges needs no open shape, and the graph's own may be a multiple that the tool does not know.
        quantize_static(
            str(weights),
            str(Path(folder, "int8.onnx")),
            _Patches(phantoms),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=chosen,
        )
        out.write_bytes(Path(folder, "int8.onnx").read_bytes())
    return hashlib.sha256(out.read_bytes()).hexdigest()


def quantised_nodes(graph: onnx.GraphProto) -> list[str]:
    """The convolutions of all networks before their heads, and the sums between them.

    Each first convolution stays: to make the whole picture 8 bits takes longer than that saves.
    """
    pictures = {one.name for one in graph.initializer if len(one.dims) == 5 and one.dims[1] == 1}
    producer = {name: node for node in graph.node for name in node.output}
    heads = [node for node in graph.node if any(name.endswith(HEAD) for name in node.input)]
    found: dict[str, None] = {}
    waiting = [name for head in heads for name in head.input]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        node = producer.get(name)
        # What a second look gathers is the picture; where, is numbers that must not be rounded.
        if node is None or name in seen or node.op_type == "GatherND":
            continue
        seen.add(name)
        waiting.extend(node.input)
        if node.op_type in ("Conv", "Add") and not pictures & set(node.input):
            found[node.name] = None
    return list(found)


class _Patches(CalibrationDataReader):  # type: ignore[misc]  # untyped there
    """Four boxes of each phantom: around nodules, and anywhere in the lungs."""

    def __init__(self, phantoms: int) -> None:
        self._patches = self._make(phantoms)

    def get_next(self) -> dict[str, NDArray[np.int16]] | None:
        """The next box, None after the last."""
        return next(self._patches, None)

    @staticmethod
    def _make(phantoms: int) -> Iterator[dict[str, NDArray[np.int16]]]:
        generator = np.random.default_rng(0)
        for number in range(phantoms):
            phantom = _phantom("train", number)
            centers = [np.array(nodule.center_index) for nodule in phantom.truth[:2]]
            centers += list(generator.uniform(0.3, 0.7, (4 - len(centers), 3)) * phantom.voxels.shape)
            step = tuple(1.0 / size for size in phantom.spacing_mm)
            for center in centers:
                start = tuple(float(c) - PATCH / 2 * s for c, s in zip(center, step, strict=True))
                box = resample_box(phantom.voxels, start, step, (PATCH,) * 3)  # type: ignore[arg-type]
                yield {INPUT: box[None]}


def _phantom(split: str, number: int) -> Phantom:
    return make_phantom(FIRST_SEED[split] + number, spacing_mm=SPACING_MM, nodule_count=8)


def measure(manifest: Manifest, quantised: Path, phantoms: int) -> dict[str, Any]:
    """Held-out phantoms through the graph in fp32 and in int8: nodules found, other marks, differences of scores."""
    runs = {"fp32": openvino_run(verified_weights(manifest)), "int8": openvino_run(quantised)}
    counts = {name: {"found": 0, "others": 0} for name in runs}
    differences: list[float] = []
    nodules = 0
    for number in range(phantoms):
        phantom = _phantom("test", number)
        nodules += len(phantom.truth)
        marks = {name: _marks(phantom, manifest, run) for name, run in runs.items()}
        for name, found in marks.items():
            hits = _hits(phantom, found)
            counts[name]["found"] += len(hits)
            counts[name]["others"] += len(found) - len(hits)
        both = [(_hits(phantom, marks["fp32"]), _hits(phantom, marks["int8"]))]
        differences += [abs(a[key] - b[key]) for a, b in both for key in a.keys() & b.keys()]
    return {
        "phantoms": phantoms,
        "nodules": nodules,
        **counts,
        "score_difference_max": round(max(differences, default=0.0), 4),
        "score_difference_median": round(float(np.median(differences)) if differences else 0.0, 4),
    }


def _marks(phantom: Phantom, manifest: Manifest, run: Run) -> list[tuple[NDArray[np.float64], float]]:
    volume = volume_of(phantom)
    prepared = preprocess(volume, manifest.spacing_mm)
    assert isinstance(prepared.context, LungBox)
    outputs = [run(batch) for batch in prepared.batches]
    joined = {name: np.concatenate([one[name] for one in outputs]) for name in manifest.outputs}
    found = detections(joined, prepared.context, volume, manifest.operating_threshold)
    return [(np.array(one.center_index), one.score) for one in found]


def _hits(phantom: Phantom, marks: list[tuple[NDArray[np.float64], float]]) -> dict[int, float]:
    """Nodule → the score of the first mark within its radius."""
    hits: dict[int, float] = {}
    for center, score in marks:
        for number, nodule in enumerate(phantom.truth):
            gap = np.linalg.norm((center - nodule.center_index) * phantom.spacing_mm)
            if gap <= nodule.diameter_mm / 2 and number not in hits:
                hits[number] = score
                break
    return hits


def openvino_run(path: Path) -> Run:
    """Runs a graph on OpenVINO in this process. Serving has its own, stricter endpoint."""
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        request = compiled.create_infer_request()
        request.infer({name: np.ascontiguousarray(array) for name, array in inputs.items()})
        names = ("scores", "centers", "diameters")
        return {name: np.array(request.get_tensor(name).data) for name in names}

    return run


def pin(manifest: Path, file: str, digest: str) -> None:
    """Put the file and its digest under `[precisions.int8]` of a manifest, in place of what stands there."""
    text = re.sub(r"(?ms)^\[precisions\.int8\]\n.*?(?=^\[|\Z)", "", manifest.read_text("utf-8")).rstrip()
    manifest.write_text(f'{text}\n\n[precisions.int8]\nfile = "{file}"\nsha256 = "{digest}"\n', "utf-8")


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=Path(__file__).parent, help="folder with manifest.toml")
    parser.add_argument("--manifest", type=Path, help="pin the file in this manifest.toml")
    parser.add_argument("--calibrate", type=int, default=4, help="phantoms whose ranges are read")
    parser.add_argument("--held-out", type=int, default=6, help="phantoms that it is measured on")
    options = parser.parse_args()
    manifest = load_manifest(options.model)
    digest = quantise(verified_weights(manifest), options.out, options.calibrate)
    record = measure(manifest, options.out, options.held_out)
    if options.manifest:
        pin(options.manifest, options.out.name, digest)
    size = options.out.stat().st_size / 1e6
    parser.exit(message=f"{options.out}: {size:.1f} MB, sha256 {digest}\n{record}\n")


if __name__ == "__main__":
    main()
