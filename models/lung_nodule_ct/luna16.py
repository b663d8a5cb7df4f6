"""Real annotated scans in LUNA16's layout as training data, in the files that phantoms are kept in.

`radmeter models train lung_nodule_ct --luna16 DIR --hold-out subset9 --minutes 600 --out FILE.pt` trains on them.
What is held out is measured by `radmeter models evaluate lung_nodule_ct --data DIR/subset9 --out evaluation.json`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.errors import InvalidAnnotations
from models.evaluation import luna16
from models.evaluation.sample import Nodules
from models.lung_nodule_ct import dataset
from models.lung_nodule_ct.phantom import Nodule, Phantom
from models.ops.lung_mask import find_lungs
from models.ops.resample import resample_box
from study.volume import Volume

log = logging.getLogger(__name__)

# The network works at 1 mm; finer voxels would fill disks for nothing.
SPACING_MM_MIN = 1.0


def prepare(folder: Path, out: Path, *, hold_out: Sequence[str] = (), scans_max: int | None = None) -> int:
    """Write train_<number>.npz for every scan; returns how many there are now. What is there already stays.

    hold_out: names of folders whose scans are not trained on. scans_max: no more than so many, drawn at random but
    the same each time: training holds them in memory, about 50 MB each. A scan without lungs is left out.
    """
    annotations = luna16.read_annotations(folder)
    paths = [path for path in luna16.scans(folder) if path.parent.name not in hold_out]
    if not paths:
        raise InvalidAnnotations(folder, "every scan is held out, so nothing is left to train on")
    order = np.random.default_rng(0).permutation(len(paths))[:scans_max]
    out.mkdir(parents=True, exist_ok=True)
    count = 0
    for number in sorted(order.tolist()):
        target = out / f"train_{number:06d}.npz"
        if not target.exists():
            series = paths[number].stem
            scan = as_phantom(luna16.read_mhd(paths[number]), annotations.truth_of(series), number)
            if find_lungs(scan.voxels, scan.spacing_mm) is None:
                log.warning("scan %d of %d has no lungs and is left out", number + 1, len(paths))
                continue
            dataset.write(target, scan)
        count += 1
    if not count:
        raise InvalidAnnotations(folder, "no scan in it has lungs")
    return count


def as_phantom(volume: Volume, truth: Nodules, number: int) -> Phantom:
    """A scan with its nodules as an array, voxels of less than 1 mm brought to 1 mm; a nodule of no kind is solid."""
    spacing = np.array(volume.spacing_mm)
    step = np.maximum(1.0, SPACING_MM_MIN / spacing)
    size = np.floor((np.array(volume.voxels.shape) - 1) / step).astype(int) + 1
    voxels = resample_box(
        volume.voxels,
        (0.0, 0.0, 0.0),
        (step[0], step[1], step[2]),
        (int(size[0]), int(size[1]), int(size[2])),
    )
    nodules = []
    for lesion in truth.lesions:
        z, y, x = volume.to_index(np.array(lesion.center_mm)) / step
        if all(-0.5 <= place <= length - 0.5 for place, length in zip((z, y, x), size, strict=True)):
            nodules.append(Nodule((float(z), float(y), float(x)), lesion.diameter_mm, "solid"))
    z, y, x = spacing * step
    return Phantom(voxels, (float(z), float(y), float(x)), tuple(nodules), number)
