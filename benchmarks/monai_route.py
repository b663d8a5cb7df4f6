"""The same network by MONAI's own route: LoadImage, transforms, sliding window in eager torch fp32, peaks.

`python -m benchmarks.monai_route DICOM_FOLDER OUT.json [--batch 1]` in .venv-train, called by `ct_path`. The weights
are those of the served graph, read back from its ONNX file; peaks are looked at again as the graph does. What MONAI
would do after the peaks (measuring nodules) is left out, which favours it.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.inferers.utils import sliding_window_inference
from monai.transforms import Compose, EnsureChannelFirst, Flip, LoadImage, ScaleIntensityRange, Spacing
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from models.lung_nodule_ct.network import COARSE, WINDOW_HU, Detector, joined, look_again
from models.lung_nodule_ct.released import detector_of
from models.registry import get_model
from models.weights import verified_weights

# Of MONAI's bundle lung_nodule_ct_detection, but for the window, which is what fits two cores' caches.
OVERLAP = 0.25
WINDOW = (96, 96, 96)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--batch", type=int, default=1, help="windows at a time; MONAI's bundle takes 1")
    parser.add_argument("--repeats", type=int, default=3, help="the run of the median time is told")
    parser.add_argument("--box", type=int, nargs=3, help="shape to count floating-point operations for")
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    detector = detector_of(verified_weights(get_model("lung_nodule_ct").manifest))
    record: dict[str, Any] = {"gflop": count_gflop(detector, options.box)} if options.box else {}
    runs = [run(options.folder, detector, options.batch) for _ in range(options.repeats)]
    middle = sorted(runs, key=lambda one: float(one["total_s"]))[len(runs) // 2]
    options.out.write_text(json.dumps(record | middle))


def count_gflop(detector: Detector, shape: tuple[int, int, int]) -> float:
    """Floating-point operations of the whole graph on a box of this shape, multiply and add as two."""
    with FlopCounterMode(display=False) as counter:
        detector(torch.zeros(1, *shape, dtype=torch.int16))
    return float(counter.get_total_flops()) / 1e9


def run(folder: Path, detector: Detector, batch: int) -> dict[str, Any]:
    """Seconds of each step and the candidates at or above the operating threshold, in patient millimetres."""
    low, high = WINDOW_HU
    began = time.perf_counter()
    loaded = LoadImage(image_only=True)(str(folder))
    read = time.perf_counter()
    transforms = Compose(
        [
            EnsureChannelFirst(),
            # What Orientation("LPS") does to an axial series; that transform needs nibabel besides.
            Flip(spatial_axis=_against_lps(loaded.affine)),
            Spacing(pixdim=(1.0, 1.0, 1.0), mode="bilinear"),
            ScaleIntensityRange(a_min=low, a_max=high, b_min=0.0, b_max=1.0, clip=True),
        ]
    )
    image = transforms(loaded)
    transformed = time.perf_counter()
    # (channel, x, y, z) to the network's (slice, row, column).
    volume = image.as_tensor().permute(0, 3, 2, 1)[None].contiguous()
    infer = partial(
        sliding_window_inference, roi_size=WINDOW, sw_batch_size=batch, overlap=OVERLAP, mode="gaussian"
    )
    output = infer(volume, predictor=detector.nodules)
    masses = infer(functional.avg_pool3d(volume, COARSE), predictor=detector.masses)
    masses[:, 0] += detector.mass_bias
    peaks = joined(look_again(detector.nodules, volume, output), masses)
    inferred = time.perf_counter()
    scores, centers, diameters = (one[0].numpy() for one in peaks)
    done = time.perf_counter()
    return {
        "load_s": read - began,
        "transforms_s": transformed - read,
        "infer_s": inferred - transformed,
        "postprocess_s": done - inferred,
        "total_s": done - began,
        "shape": list(volume.shape[2:]),
        "candidates": _candidates(scores, centers, diameters, image.affine.numpy()),
    }


def _against_lps(affine: torch.Tensor) -> list[int]:
    """The axes that run against left, posterior, superior; the affine is MONAI's and leads to RAS."""
    return [axis for axis, sign in enumerate((-1.0, -1.0, 1.0)) if affine[axis, axis] * sign < 0]


def _candidates(
    scores: np.ndarray, centers: np.ndarray, diameters: np.ndarray, affine: np.ndarray
) -> list[dict[str, Any]]:
    """affine: MONAI's, from (x, y, z) indices to RAS; ours are LPS."""
    threshold = get_model("lung_nodule_ct").manifest.operating_threshold
    found = []
    for score, center, diameter in zip(scores, centers, diameters, strict=True):
        if score >= threshold:
            ras = affine @ np.array([center[2], center[1], center[0], 1.0])
            place = [-float(ras[0]), -float(ras[1]), float(ras[2])]
            found.append({"score": float(score), "center_lps_mm": place, "diameter_mm": float(diameter)})
    return found


if __name__ == "__main__":
    main()
