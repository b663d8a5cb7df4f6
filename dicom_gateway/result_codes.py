"""The coded concepts that result objects use (PS3.16), in one place; docs/results.md lists every one."""

from __future__ import annotations

from pydicom.sr.coding import Code

import study.codes

# Document and containers, TID 1500.
IMAGING_MEASUREMENT_REPORT = Code("126000", "DCM", "Imaging Measurement Report")
IMAGING_MEASUREMENTS = Code("126010", "DCM", "Imaging Measurements")
QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
# Title of a rejection note, CID 7011.
REJECTED_FOR_QUALITY_REASONS = Code("113001", "DCM", "Rejected for Quality Reasons")
# Title of a selection of key images, CID 7010.
OF_INTEREST = Code("113000", "DCM", "Of Interest")
COMMENT = Code("121106", "DCM", "Comment")
# CID 100 has no code for CT or radiography of the chest; the finding site names the body part.
CT_PROCEDURE = Code("25045-6", "LN", "CT unspecified body region")
# "XR unspecified body region" (43468-8, LN) came into CID 100 later than the copies that validators carry.
RADIOGRAPHY_PROCEDURE = Code("363679005", "SCT", "Imaging procedure")
ENGLISH = Code("en", "RFC5646", "English")
CHINESE = Code("zh-CN", "RFC5646", "Chinese (S)")

# What was found and where, TID 1410 and 1411.
ABNORMAL_STRUCTURE = Code("49755003", "SCT", "Morphologically Abnormal Structure")
ANATOMICAL_STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")
PULMONARY_NODULE = Code("786838002", "SCT", "Pulmonary nodule")
MASS = Code("4147007", "SCT", "Mass")
LESION = Code("52988006", "SCT", "Lesion")
NODULE = Code("27925004", "SCT", "Nodule")
LUNG = Code("39607008", "SCT", "Lung")
DETECTED = Code("260373001", "SCT", "Detected")
NOT_DETECTED = Code("260415000", "SCT", "Not detected")

# Measurements, CID 7470, 7472 and TID 1419.
LONG_AXIS = Code("103339001", "SCT", "Long axis")
SHORT_AXIS = Code("103340004", "SCT", "Short axis")
DIAMETER = Code("81827009", "SCT", "Diameter")
VOLUME = Code("118565006", "SCT", "Volume")
ATTENUATION = Code("112031", "DCM", "Attenuation Coefficient")
MEAN = Code("373098007", "SCT", "Mean")
# PS3.16 Annex D: the certainty that the device places upon a finding, 0 to 100. This is the model's
# score, not a probability of malignancy (that would be 111047, Probability of cancer).
CERTAINTY_OF_FINDING = Code("111012", "DCM", "Certainty of Finding")

# Lobes: CID 6170 names the upper and lower ones without their side; these name both.
RIGHT_UPPER_LOBE = Code("42400003", "SCT", "Upper lobe of right lung")
RIGHT_MIDDLE_LOBE = Code("72481006", "SCT", "Middle lobe of right lung")
RIGHT_LOWER_LOBE = Code("266005", "SCT", "Lower lobe of right lung")
LEFT_UPPER_LOBE = Code("44714003", "SCT", "Upper lobe of left lung")
LEFT_LOWER_LOBE = Code("41224006", "SCT", "Lower lobe of left lung")
PLEURA = Code("3120008", "SCT", "Pleura")
DISTANCE = Code("121206", "DCM", "Distance")

# Nodules: common data elements of ACR and RSNA, set RDES195; PS3.16 has no codes for them.
COMPOSITION = Code("RDE1301", "RADELEMENT", "Composition")
COMPOSITION_SOLID = Code("RDE1301.0", "RADELEMENT", "solid")
COMPOSITION_GROUND_GLASS = Code("RDE1301.1", "RADELEMENT", "ground glass")
COMPOSITION_PART_SOLID = Code("RDE1301.2", "RADELEMENT", "part-solid")
COMPOSITION_CALCIFICATION = Code("RDE1301.4", "RADELEMENT", "calcification")
SOLID_COMPONENT_SIZE = Code("RDE1303", "RADELEMENT", "Solid component size")
CHANGE_FROM_PRIORS = Code("RDE1706", "RADELEMENT", "Change from priors")
# Answers of CID 6134, and one for what was not there.
INCREASE_IN_SIZE = Code("15454001", "SCT", "Increase in size")
DECREASE_IN_SIZE = Code("19776001", "SCT", "Decrease in size")
NO_SIGNIFICANT_CHANGE = Code("129723006", "SCT", "No significant changes in the finding")
NEW = Code("7147002", "SCT", "New")
# No scheme at hand has codes for these: ours, a private scheme as PS3.16 section 8 provides.
PRIOR_VOLUME = Code("PRIOR_VOLUME", "99RADMETER", "Volume in the prior study")
VOLUME_CHANGE = Code("VOLUME_CHANGE", "99RADMETER", "Change of the volume since the prior study")
VOLUME_DOUBLING_TIME = Code("VOLUME_DOUBLING", "99RADMETER", "Volume doubling time")
INTERVAL_LOW = Code("INTERVAL_LOW", "99RADMETER", "Lower end of the 95 % interval")
INTERVAL_HIGH = Code("INTERVAL_HIGH", "99RADMETER", "Upper end of the 95 % interval")

# The category that a guideline gives, as text: each guideline has its own.
GUIDELINE_CATEGORY = Code("GUIDELINE", "99RADMETER", "Guideline category")
# What a map of a radiograph shows: ours too, as CID 7180 has no saliency.
SALIENCY = Code("SALIENCY", "99RADMETER", "Saliency of a statement")
# What a reader says of a finding: ours as well.
REVIEW_OF_THE_FINDING = Code("REVIEW", "99RADMETER", "Review of the finding")
REVIEW_ACCEPTED = Code("REVIEW_ACCEPTED", "99RADMETER", "Accepted by the reader")
REVIEW_CHANGED = Code("REVIEW_CHANGED", "99RADMETER", "Changed by the reader")
REVIEW_UNSURE = Code("REVIEW_UNSURE", "99RADMETER", "The reader is unsure")
REVIEW_ADDED = Code("REVIEW_ADDED", "99RADMETER", "Added by the reader")

# Units.
NO_UNITS = Code("1", "UCUM", "no units")
DAY = Code("d", "UCUM", "day")
MILLIMETRE = Code("mm", "UCUM", "mm")
CUBIC_MILLIMETRE = Code("mm3", "UCUM", "mm3")
CUBIC_CENTIMETRE = Code("cm3", "UCUM", "cm3")
HOUNSFIELD_UNIT = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
PERCENT = Code("%", "UCUM", "Percent")

# Equipment and algorithm.
PROCESSING_EQUIPMENT = Code("109102", "DCM", "Processing Equipment")
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")

# Purpose of the reference from a secondary capture, CID 7202.
SOURCE_IMAGE = Code("121322", "DCM", "Source image for image processing operation")

# Title of a report that says that there is none, CID 7000.
DIAGNOSTIC_IMAGING_REPORT = Code("18748-4", "LN", "Diagnostic imaging report")

# Encapsulated PDF title, CID 7020.
DOCUMENT_TITLE_AI_REPORT = Code("18782-3", "LN", "Radiology Study observation (narrative)")

_NODULE_LABELS = frozenset({"nodule", "lung_nodule", "lung nodule", "pulmonary nodule", "pulmonary_nodule"})
_MASS_LABELS = frozenset({"mass", "lung_mass", "lung mass", "pulmonary mass", "pulmonary_mass"})


def as_dicom(code: study.codes.Code) -> Code:
    """A model's coded concept as DICOM objects hold it."""
    return Code(code.value, code.scheme, code.meaning)


def finding_type(label: str) -> Code:
    """The coded finding type of a model's label; an unknown label is a lesion, nothing more."""
    return PULMONARY_NODULE if label.casefold() in _NODULE_LABELS else _mass_or_lesion(label)


def property_type(label: str) -> Code:
    """The segmented property type of a model's label (CID 7159, Lesion Segmentation Types)."""
    return NODULE if label.casefold() in _NODULE_LABELS else _mass_or_lesion(label)


def _mass_or_lesion(label: str) -> Code:
    return MASS if label.casefold() in _MASS_LABELS else LESION
