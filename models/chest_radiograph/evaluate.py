"""The pictures on which `radmeter models evaluate chest_radiograph` measures the model.

They are made by `python -m models.chest_radiograph.dataset --split validation` and `--split test`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from models.chest_radiograph.dataset import read
from models.chest_radiograph.postprocess import FINDINGS, KINDS
from models.evaluation.sample import Labels, Sample
from study.radiograph import Radiograph

WHAT = (
    "synthetic radiographs: validation from the generator of the training pictures with other seeds, test from one "
    "with other parameters; the splits that end in _unfit hold laterals, inverted, turned and cropped chests and other "
    "things, which must be refused"
)
# Of the ranges of both generators.
_LARGE_FAT_MM = 22.0
_DEEP_BREATH_MM = 240.0


def samples(data: Path) -> Iterator[Sample]:
    """Validation and test pictures; raises FileNotFoundError where there are none."""
    for split in ("validation", "test"):
        if not any(data.glob(f"{split}_*.npz")):
            raise FileNotFoundError(
                f"no {split}_*.npz in {data}: make them with python -m models.chest_radiograph.dataset"
            )
        batch = read(data, split)
        for number, pixels in enumerate(batch.pixels):
            kind = KINDS[int(batch.kinds[number])]
            facts = batch.facts[number]
            image = Radiograph(
                np.rint(pixels.astype(np.float32) * 65535).astype(np.uint16), 16, None, f"2.25.{number + 1}", "2.25.1"
            )  # fmt: skip
            if kind != "frontal":
                yield Sample(image, Labels({}), f"{split}_unfit", {"kind": kind})
                continue
            labels = dict(zip(FINDINGS, map(bool, batch.labels[number]), strict=True))
            yield Sample(image, Labels(labels), split, _groups(facts, sum(labels.values())))


def _groups(facts: dict[str, float | str], finding_count: int) -> dict[str, float | str]:
    return {
        "view": facts["view"],
        "sex": facts["sex"],
        "build": "large" if float(facts["fat_mm"]) > _LARGE_FAT_MM else "slim",
        "breath": "deep" if float(facts["lung_height_mm"]) > _DEEP_BREATH_MM else "shallow",
        "findings": "several" if finding_count > 1 else "one or none",
    }
