"""What the lobes are evaluated on.

    radmeter models evaluate lung_ct_segmentation --data DIR --out evaluation.json

DIR holds phantoms of `dataset`: `validation` by the training generator, `test` by one with other parameters. Both come
from a scanner with slices of 0.6 to 5 mm and take the whole way that a patient's series takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from models.evaluation.sample import LabelMap, Sample
from models.lung_ct_segmentation import dataset
from models.lung_ct_segmentation.lobes import NAMES
from models.lung_ct_segmentation.phantom import Phantom
from models.lung_nodule_ct.evaluate import volume_of
from models.lung_nodule_ct.phantom import Phantom as NodulePhantom

WHAT = "synthetic phantoms made by models.lung_ct_segmentation.phantom; says nothing about patients"


def samples(data: Path) -> Iterator[Sample]:
    """Every phantom that was not trained on."""
    splits = {
        split: sorted(data.glob(f"{split}_[0-9]*.npz")) for split in dataset.FIRST_SEED if split != "train"
    }
    if not any(splits.values()):
        raise FileNotFoundError(
            f"no phantoms in {data}: make them with models.lung_ct_segmentation.dataset, for instance --split test"
        )
    for split, paths in splits.items():
        for path in paths:
            yield sample_of(dataset.read(path), split)


def sample_of(phantom: Phantom, split: str) -> Sample:
    """A phantom with its lobes."""
    facts = {"slice_spacing_mm": round(phantom.spacing_mm[0], 2)}
    names = {name: label for label, name in NAMES.items()}
    volume = volume_of(NodulePhantom(phantom.voxels, phantom.spacing_mm, (), phantom.seed))
    return Sample(volume, LabelMap(phantom.labels, names), split, facts)
