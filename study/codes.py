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
COIN_LESION = Code("308689002", "SCT", "Coin lesion")
CONSOLIDATION = Code("95436008", "SCT", "Lung consolidation")
PLEURAL_EFFUSION = Code("60046008", "SCT", "Pleural effusion")
PNEUMOTHORAX = Code("36118008", "SCT", "Pneumothorax")
CARDIOMEGALY = Code("8186001", "SCT", "Cardiomegaly")
INTERSTITIAL_PATTERN = Code("112004", "DCM", "Abnormal interstitial pattern")
HEART = Code("80891009", "SCT", "Heart")
PLEURA = Code("3120008", "SCT", "Pleura")
LUNG = Code("39607008", "SCT", "Lung")
CHEST = Code("43799004", "SCT", "Thorax")
MILLIMETRE = Code("mm", "UCUM", "mm")
CUBIC_MILLIMETRE = Code("mm3", "UCUM", "mm3")
HOUNSFIELD = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
