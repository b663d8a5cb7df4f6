"""Whether a patient is one that a model is made for, as far as headers and images tell."""

from __future__ import annotations

import numpy as np

from models.manifest import Manifest
from models.ops.lung_mask import find_lungs
from pipeline.patient_age import age_years
from study.answer import Image
from study.sentences import say
from study.study import Study
from study.volume import Volume

# Both lungs of an adult are 23 to 30 cm wide, those of a child of eight about 20 cm; who is smaller is named, and an
# adult who is named too loses nothing by it.
ADULT_LUNGS_MM_MIN = 200.0
# Below this height of lung the widest part may lie outside the images.
_HEIGHT_MM_MIN = 100.0


def patient_caveats(study: Study, manifest: Manifest, image: Image) -> tuple[str, ...]:
    """What a reader must know of a patient of unknown age whom a model with a lowest age has read: sentences."""
    youngest = manifest.input.patient_age_years_min
    if youngest <= 0 or age_years(study) is not None:
        return ()
    unknown = say("PATIENT_AGE_UNKNOWN", model=manifest.title, youngest=f"{youngest:g}")
    width_mm = _lungs_width_mm(image) if isinstance(image, Volume) else None
    if width_mm is None or width_mm >= ADULT_LUNGS_MM_MIN:
        return (unknown,)
    return unknown, say("CHEST_OF_CHILD_SIZE", mm=f"{width_mm:.0f}")


def _lungs_width_mm(volume: Volume) -> float | None:
    """From the right edge of the right lung to the left edge of the left one; None where the images may cut it off."""
    lungs = find_lungs(volume.voxels, volume.spacing_mm, closed=False)
    if lungs is None or lungs.mask[:, :, 0].any() or lungs.mask[:, :, -1].any():
        return None
    height, _, width = (
        float(np.ptp(np.flatnonzero(lungs.mask.any(axis=others))) + 1) * step * size
        for others, step, size in zip(((1, 2), (0, 2), (0, 1)), lungs.stride, volume.spacing_mm, strict=True)
    )
    return width if height >= _HEIGHT_MM_MIN else None
