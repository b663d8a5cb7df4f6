"""A chest phantom that the detector reads in a second or two: what most tests of the steps around it need."""

from __future__ import annotations

import functools

from models.lung_nodule_ct.phantom import Phantom, make_phantom

SPACING_MM = (2.5, 1.3, 1.3)


@functools.cache
def small_chest(nodule_count: int = 2) -> Phantom:
    """28 slices of 154 × 200, 70 mm of a chest: small enough for a quick run, lungs enough for the model."""
    phantom = make_phantom(7, spacing_mm=SPACING_MM, nodule_count=nodule_count, field_mm=(70, 200, 260))
    phantom.voxels.flags.writeable = False  # it is everybody's
    return phantom
