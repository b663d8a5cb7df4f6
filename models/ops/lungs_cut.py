"""Whether the lungs go on beyond the images, and where: what lies there was not looked at."""

from __future__ import annotations

import numpy as np

from models.ops.lung_mask import LungMask
from study.sentences import say
from study.volume import Volume

# A lung that only grazes the edge is whole for a reader.
AREA_MIN_CM2 = 5.0
# The patient's sides along +x, -x, +y, -y, +z, -z of LPS (PS3.3 C.7.6.1.1.1).
_SIDES = (("left", "right"), ("posterior", "anterior"), ("superior", "inferior"))


def lungs_cut(lungs: LungMask, volume: Volume) -> tuple[str, ...]:
    """One sentence for each side of the volume at which the lungs are cut off."""
    sample_cm = [step * size / 10 for step, size in zip(lungs.stride, volume.spacing_mm, strict=True)]
    directions = volume.affine_mm[:3, :3] / np.linalg.norm(volume.affine_mm[:3, :3], axis=0)
    sentences = []
    for axis in range(3):
        others = [size for other, size in enumerate(sample_cm) if other != axis]
        main = int(np.argmax(np.abs(directions[:, axis])))
        for end in (0, -1):
            area = float(lungs.mask.take(end, axis=axis).sum()) * others[0] * others[1]
            if area < AREA_MIN_CM2:
                continue
            grows = directions[main, axis] * (1 if end == -1 else -1) > 0
            side = _SIDES[main][0 if grows else 1]
            sentences.append(say("LUNGS_CUT", side=side, area=f"{area:.0f}"))
    return tuple(sentences)
