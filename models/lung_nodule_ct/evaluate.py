"""What the detector is evaluated on, and how its operating point is chosen.

    radmeter models evaluate lung_nodule_ct --data DIR --out evaluation.json [--set-operating-point]

DIR holds phantoms of `dataset`; annotated real scans are read for every model alike. The operating point is the lowest
threshold with at most 1/4 false positives per scan on the validation phantoms, those with masses and those without
together; the other splits only measure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from models.evaluation.detection import matches_of
from models.evaluation.evaluate import Splits
from models.evaluation.froc import Real
from models.evaluation.sample import Nodules, Sample
from models.lung_nodule_ct import dataset
from models.lung_nodule_ct.phantom import Phantom
from study.volume import Volume

WHAT = "synthetic phantoms made by models.lung_nodule_ct.phantom; says nothing about patients"
OPERATING_RATE = 0.25
READ_TO_MM = 5.0
"""The thickest slices that the manifest reads."""


def samples(data: Path) -> Iterator[Sample]:
    """Every phantom that was not trained on."""
    splits = {
        split: sorted(data.glob(f"{split}_[0-9]*.npz"))
        for split in dataset.FIRST_SEED
        if "train" not in split
    }
    if not any(splits.values()):
        raise FileNotFoundError(
            f"no phantoms in {data}: make them with models.lung_nodule_ct.dataset, for instance --split test"
        )
    for split, paths in splits.items():
        for path in paths:
            yield sample_of(dataset.read(path), "validation" if split.endswith("validation") else split)


def sample_of(phantom: Phantom, split: str) -> Sample:
    """A phantom with its nodules in patient space."""
    volume = volume_of(phantom)
    centers = (volume.to_lps_mm(np.array(nodule.center_index)) for nodule in phantom.truth)
    lesions = tuple(
        Real((float(x), float(y), float(z)), nodule.diameter_mm, nodule.kind)
        for nodule, (x, y, z) in zip(phantom.truth, centers, strict=True)
    )
    sharpness = phantom.sharpness
    facts = {
        "slice_thickness_mm": phantom.slice_thickness_mm,
        "kernel": "smooth" if sharpness < 1 / 3 else "medium" if sharpness < 2 / 3 else "sharp",
        # Thicker series are measured too, and no study of them is routed to the model.
        "series": "read" if phantom.slice_thickness_mm <= READ_TO_MM else f"not read, over {READ_TO_MM:g} mm",
    }
    return Sample(volume, Nodules(lesions), split, facts)


def volume_of(phantom: Phantom) -> Volume:
    """A phantom as a decoded supine series would be: slices upwards, rows backwards, columns to the left."""
    z, y, x = phantom.spacing_mm
    affine = np.array([[0, 0, x, -160], [0, y, 0, -128], [z, 0, 0, -300], [0, 0, 0, 1]], np.float64)
    count = phantom.voxels.shape[0]
    uids = tuple(f"2.25.{phantom.seed}{slice_:04d}" for slice_ in range(count))
    return Volume(phantom.voxels, affine, uids, (1,) * count, f"2.25.{phantom.seed}", "2.25.1")


def operating_threshold(splits: Splits) -> float:
    """The lowest threshold with at most `OPERATING_RATE` false positives per scan on the validation phantoms."""
    if "validation" not in splits:
        raise FileNotFoundError(
            "the operating point is chosen on validation phantoms: "
            "make them with models.lung_nodule_ct.dataset --split validation"
        )
    found = matches_of(splits["validation"].detections)
    return math.ceil(found.threshold_at(OPERATING_RATE) * 1000) / 1000


if __name__ == "__main__":
    raise SystemExit(
        "radmeter models evaluate lung_nodule_ct --data DIR --out evaluation.json [--set-operating-point]"
    )
