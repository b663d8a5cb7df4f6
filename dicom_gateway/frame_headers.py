"""What routing and decoding need to know of each frame, from single-frame and enhanced headers alike."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from dicom_gateway import header_values as values

# The attributes that inspecting and decoding read (PS3.3 C.7, C.8.2, C.8.15); others are skipped unparsed.
SPECIFIC_CHARACTER_SET = 0x00080005
IMAGE_TYPE = 0x00080008
SOP_CLASS_UID = 0x00080016
SOP_INSTANCE_UID = 0x00080018
STUDY_DATE = 0x00080020
STUDY_TIME = 0x00080030
ACCESSION_NUMBER = 0x00080050
MODALITY = 0x00080060
PRESENTATION_INTENT_TYPE = 0x00080068
MANUFACTURER = 0x00080070
INSTITUTION_NAME = 0x00080080
REFERRING_PHYSICIAN = 0x00080090
STATION_NAME = 0x00081010
STUDY_DESCRIPTION = 0x00081030
SERIES_DESCRIPTION = 0x0008103E
MANUFACTURER_MODEL_NAME = 0x00081090
ANATOMIC_REGION_SEQUENCE = 0x00082218
CODE_MEANING = 0x00080104
PATIENT_NAME = 0x00100010
PATIENT_ID = 0x00100020
PATIENT_BIRTH_DATE = 0x00100030
PATIENT_SEX = 0x00100040
PATIENT_AGE = 0x00101010
CONTRAST_BOLUS_AGENT = 0x00180010
BODY_PART_EXAMINED = 0x00180015
SLICE_THICKNESS = 0x00180050
PROTOCOL_NAME = 0x00181030
GANTRY_DETECTOR_TILT = 0x00181120
IMAGER_PIXEL_SPACING = 0x00181164
CONVOLUTION_KERNEL = 0x00181210
VIEW_POSITION = 0x00185101
CT_RECONSTRUCTION_SEQUENCE = 0x00189314
CT_IMAGE_FRAME_TYPE_SEQUENCE = 0x00189329
STUDY_INSTANCE_UID = 0x0020000D
SERIES_INSTANCE_UID = 0x0020000E
SERIES_NUMBER = 0x00200011
ACQUISITION_NUMBER = 0x00200012
INSTANCE_NUMBER = 0x00200013
IMAGE_POSITION = 0x00200032
IMAGE_ORIENTATION = 0x00200037
FRAME_OF_REFERENCE_UID = 0x00200052
TEMPORAL_POSITION_IDENTIFIER = 0x00200100
FRAME_ANATOMY_SEQUENCE = 0x00209071
FRAME_CONTENT_SEQUENCE = 0x00209111
PLANE_POSITION_SEQUENCE = 0x00209113
PLANE_ORIENTATION_SEQUENCE = 0x00209116
TEMPORAL_POSITION_INDEX = 0x00209128
FRAME_ACQUISITION_NUMBER = 0x00209156
SAMPLES_PER_PIXEL = 0x00280002
PHOTOMETRIC_INTERPRETATION = 0x00280004
NUMBER_OF_FRAMES = 0x00280008
ROWS = 0x00280010
COLUMNS = 0x00280011
PIXEL_SPACING = 0x00280030
BITS_ALLOCATED = 0x00280100
BITS_STORED = 0x00280101
HIGH_BIT = 0x00280102
PIXEL_REPRESENTATION = 0x00280103
PIXEL_PADDING_VALUE = 0x00280120
PIXEL_PADDING_RANGE_LIMIT = 0x00280121
PIXEL_INTENSITY_RELATIONSHIP_SIGN = 0x00281041
WINDOW_CENTER = 0x00281050
WINDOW_WIDTH = 0x00281051
RESCALE_INTERCEPT = 0x00281052
RESCALE_SLOPE = 0x00281053
RESCALE_TYPE = 0x00281054
LOSSY_IMAGE_COMPRESSION = 0x00282110
MODALITY_LUT_SEQUENCE = 0x00283000
LUT_DESCRIPTOR = 0x00283002
LUT_DATA = 0x00283006
VOI_LUT_SEQUENCE = 0x00283010
REQUESTED_PROCEDURE_DESCRIPTION = 0x00321060
REQUEST_ATTRIBUTES_SEQUENCE = 0x00400275
REQUESTED_PROCEDURE_PRIORITY = 0x00401003
PIXEL_MEASURES_SEQUENCE = 0x00289110
PIXEL_VALUE_TRANSFORMATION_SEQUENCE = 0x00289145
SHARED_FUNCTIONAL_GROUPS_SEQUENCE = 0x52009229
PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE = 0x52009230

HEADER_TAGS: tuple[int, ...] = tuple(
    tag for name, tag in sorted(globals().items()) if name.isupper() and isinstance(tag, int)
)


@dataclass(frozen=True)
class FrameHeader:
    """One frame's own attributes. None where the header has no usable value.

    number: one-based. position_mm, orientation: PS3.3 C.7.6.2.1.1. spacing_mm: (row, column).
    rescale_type: as written (PS3.3 C.11.1.1.2).
    """

    number: int
    position_mm: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing_mm: tuple[float, ...] | None
    slice_thickness_mm: float | None
    slope: float | None
    intercept: float | None
    rescale_type: str
    image_type: tuple[str, ...]
    acquisition_number: int | None
    temporal_position: int | None
    convolution_kernel: str
    body_part: str


def frame_count(dataset: Dataset) -> int:
    """Number of Frames, 1 when absent, 0 for an object without rows."""
    if not values.integer(dataset, ROWS):
        return 0
    count = values.integer(dataset, NUMBER_OF_FRAMES)
    return 1 if count is None else max(count, 0)


def is_multi_frame(dataset: Dataset) -> bool:
    """Whether geometry stands in functional groups (PS3.3 C.7.6.16)."""
    return SHARED_FUNCTIONAL_GROUPS_SEQUENCE in dataset or PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE in dataset


def read_frames(dataset: Dataset, frames_max: int | None = None) -> list[FrameHeader]:
    """The first `frames_max` frames of an image."""
    if not is_multi_frame(dataset):
        return [_single_frame(dataset)]
    shared = values.first_item(dataset, SHARED_FUNCTIONAL_GROUPS_SEQUENCE)
    own = values.items(dataset, PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE)[:frames_max]
    return [_enhanced_frame(number, dataset, item, shared) for number, item in enumerate(own, start=1)]


def _single_frame(dataset: Dataset) -> FrameHeader:
    return FrameHeader(
        number=1,
        position_mm=values.numbers(dataset, IMAGE_POSITION, 3),
        orientation=values.numbers(dataset, IMAGE_ORIENTATION, 6),
        spacing_mm=values.numbers(dataset, PIXEL_SPACING, 2),
        slice_thickness_mm=values.number(dataset, SLICE_THICKNESS),
        slope=values.number(dataset, RESCALE_SLOPE),
        intercept=values.number(dataset, RESCALE_INTERCEPT),
        rescale_type=values.text(dataset, RESCALE_TYPE),
        image_type=values.texts(dataset, IMAGE_TYPE),
        acquisition_number=values.integer(dataset, ACQUISITION_NUMBER),
        temporal_position=values.integer(dataset, TEMPORAL_POSITION_IDENTIFIER),
        convolution_kernel=values.text(dataset, CONVOLUTION_KERNEL),
        body_part=values.text(dataset, BODY_PART_EXAMINED),
    )


def _enhanced_frame(number: int, dataset: Dataset, own: Dataset, shared: Dataset | None) -> FrameHeader:
    def macro(tag: int) -> Dataset:
        """A functional group: the frame's own, else the shared one (PS3.3 C.7.6.16.1.1)."""
        return values.first_item(own, tag) or values.first_item(shared, tag) or Dataset()

    measures = macro(PIXEL_MEASURES_SEQUENCE)
    transformation = macro(PIXEL_VALUE_TRANSFORMATION_SEQUENCE)
    content = macro(FRAME_CONTENT_SEQUENCE)
    region = values.first_item(macro(FRAME_ANATOMY_SEQUENCE), ANATOMIC_REGION_SEQUENCE) or Dataset()
    frame_type = values.texts(macro(CT_IMAGE_FRAME_TYPE_SEQUENCE), 0x00089007)
    return FrameHeader(
        number=number,
        position_mm=values.numbers(macro(PLANE_POSITION_SEQUENCE), IMAGE_POSITION, 3),
        orientation=values.numbers(macro(PLANE_ORIENTATION_SEQUENCE), IMAGE_ORIENTATION, 6),
        spacing_mm=values.numbers(measures, PIXEL_SPACING, 2),
        slice_thickness_mm=values.number(measures, SLICE_THICKNESS),
        slope=values.number(transformation, RESCALE_SLOPE),
        intercept=values.number(transformation, RESCALE_INTERCEPT),
        rescale_type=values.text(transformation, RESCALE_TYPE),
        image_type=frame_type or values.texts(dataset, IMAGE_TYPE),
        acquisition_number=values.integer(content, FRAME_ACQUISITION_NUMBER),
        temporal_position=values.integer(content, TEMPORAL_POSITION_INDEX),
        convolution_kernel=values.text(macro(CT_RECONSTRUCTION_SEQUENCE), CONVOLUTION_KERNEL),
        body_part=values.text(dataset, BODY_PART_EXAMINED) or values.text(region, CODE_MEANING).upper(),
    )
