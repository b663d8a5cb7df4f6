"""The coded concepts that results use (DICOM PS3.16)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Code:
    """A coded concept: value, coding scheme designator and meaning (PS3.3 section 8.8)."""

    value: str
    scheme: str
    meaning: str


LUNG_NODULE = Code("786838002", "SCT", "Pulmonary nodule")
LUNG = Code("39607008", "SCT", "Lung")
CHEST = Code("43799004", "SCT", "Thorax")
MILLIMETRE = Code("mm", "UCUM", "mm")
CUBIC_MILLIMETRE = Code("mm3", "UCUM", "mm3")
HOUNSFIELD = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
