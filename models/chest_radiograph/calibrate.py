"""Calibration, thresholds and fitness limit from the validation pictures, written into the manifest. Extra `train`.

python -m models.chest_radiograph.calibrate --checkpoint FILE.pt --data DIR --manifest manifest.toml

Rules: Platt's fit for each finding; the lowest threshold that calls at least 95 % of the frontal pictures without the
finding negative; a picture is frontal from the probability on that 99 % of the frontal ones reach, at most 0.5. It also
prints how often, on the test pictures, the greatest value of a map lies on the finding (the pointing game of Zhang et
al. 2016, doi:10.1007/978-3-319-46493-0_33), one cell around it allowed.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from models.chest_radiograph.dataset import Batch, read
from models.chest_radiograph.export import load_network
from models.chest_radiograph.network import RadiographNet, Served
from models.chest_radiograph.postprocess import FINDINGS
from models.chest_radiograph.preprocess import prepare
from models.evaluation.auc import auc, threshold_for_specificity
from models.evaluation.bootstrap import wilson
from models.evaluation.calibration import fit_platt

SPECIFICITY = 0.95
FRONTAL_SHARE = 0.99
FRONTAL_MIN_MAX = 0.5
_BATCH = 16


@dataclass(frozen=True)
class Outputs:
    """What the graph says of many pictures: logits (n, 6), saliency (n, 6, 28, 28), kinds (n, 6)."""

    logits: NDArray[np.float64]
    saliency: NDArray[np.float32]
    kinds: NDArray[np.float64]


def outputs_of(network: RadiographNet, pixels: NDArray[np.floating]) -> Outputs:
    """Pictures through preprocessing and network, as they are served."""
    served = Served(network).eval()
    parts: list[tuple[NDArray[np.float32], ...]] = []
    for first in range(0, len(pixels), _BATCH):
        pictures = np.stack([prepare(one.astype(np.float32))[0] for one in pixels[first : first + _BATCH]])
        with torch.no_grad():
            parts.append(tuple(array.numpy() for array in served(torch.from_numpy(pictures)[:, None])))
    logits, saliency, kinds = (np.concatenate([part[index] for part in parts]) for index in range(3))
    return Outputs(logits.astype(np.float64), saliency, kinds.astype(np.float64))


def settings_of(outputs: Outputs, batch: Batch) -> dict[str, float | list[float]]:
    """The calibrated settings by the rules above."""
    frontal = batch.kinds == 0
    slopes, intercepts, thresholds = [], [], []
    for index in range(len(FINDINGS)):
        logits, truths = outputs.logits[frontal, index], batch.labels[frontal, index]
        platt = fit_platt(logits, truths)
        slopes.append(round(platt.slope, 4))
        intercepts.append(round(platt.intercept, 4))
        probabilities = platt(logits)
        thresholds.append(round(threshold_for_specificity(probabilities, truths, SPECIFICITY), 4))
    reached = float(np.quantile(outputs.kinds[frontal, 0], 1 - FRONTAL_SHARE))
    return {
        "frontal_min": round(min(FRONTAL_MIN_MAX, reached), 4),
        "slopes": slopes, "intercepts": intercepts, "thresholds": thresholds,
    }  # fmt: skip


def pointing(outputs: Outputs, batch: Batch) -> dict[str, str]:
    """For each finding: of the pictures that have it, the share whose map is greatest on it, with its interval."""
    found = {}
    for index, name in enumerate(FINDINGS):
        hits = 0
        chosen = np.flatnonzero(batch.labels[:, index] & (batch.kinds == 0))
        for number in chosen:
            saliency, mask = outputs.saliency[number, index], batch.masks[number, index]
            row, column = np.unravel_index(int(saliency.argmax()), saliency.shape)
            cell = mask.shape[0] / saliency.shape[0]
            at = int((row + 0.5) * cell), int((column + 0.5) * cell)
            hits += bool(ndimage.binary_dilation(mask, iterations=round(cell))[at])
        share = wilson(hits, len(chosen))
        found[name] = f"{share.value:.3f} ({share.low:.3f} to {share.high:.3f}), n = {share.count}"
    return found


def write_settings(manifest: Path, settings: dict[str, float | list[float]]) -> None:
    """Replace the lines of these settings in a manifest.toml."""
    text = manifest.read_text("utf-8")
    for key, value in settings.items():
        text, count = re.subn(rf"(?m)^{key} = .*$", f"{key} = {value}", text)
        assert count == 1, f"{key} stands {count} times in {manifest}"
    manifest.write_text(text, "utf-8")


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, help="write the settings into this manifest.toml")
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = load_network(options.checkpoint)
    validation = read(options.data, "validation")
    settings = settings_of(outputs_of(network, validation.pixels), validation)
    if options.manifest:
        write_settings(options.manifest, settings)
    lines = [f"{key} = {value}" for key, value in settings.items()]
    test = read(options.data, "test")
    said = outputs_of(network, test.pixels)
    frontal = test.kinds == 0
    for index, name in enumerate(FINDINGS):
        area = auc(said.logits[frontal, index], test.labels[frontal, index])
        lines.append(f"test AUC {name}: {area.value:.3f} ({area.low:.3f} to {area.high:.3f})")
    lines += [f"test pointing {name}: {text}" for name, text in pointing(said, test).items()]
    parser.exit(message="\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
