"""Outlines, axes and labels over the source images, as a Grayscale Softcopy Presentation State (PS3.3 A.33.1).

For a PACS that shows neither SR nor SEG: the images stay as they are, the marks are a layer that a reader turns off.
"""

from __future__ import annotations

from collections.abc import Iterator

from highdicom import PresentationLUTTransformation
from highdicom.pr import (
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GrayscaleSoftcopyPresentationState,
    SoftcopyVOILUTTransformation,
    TextObject,
)
from pydicom.dataset import Dataset
from pydicom.valuerep import DS

from dicom_gateway.encode_common import source_images, stamp
from dicom_gateway.header_values import number
from dicom_gateway.key_slices import KeySlice, Mark, key_slices
from dicom_gateway.result_context import ResultContext
from study.volume import Volume

LUNG_WINDOW_HU = (-600.0, 1500.0)
"""Centre and width (PS3.3 C.11.2.1.2)."""
_LAYER = GraphicLayer("AI_FINDINGS", order=1)
# A text object is anchored; this is how far beside the mark, in pixels.
_LABEL_GAP_PX = 4.0
_RESCALE_INTERCEPT, _RESCALE_SLOPE, _WINDOW_CENTER, _WINDOW_WIDTH = (
    0x00281052,
    0x00281053,
    0x00281050,
    0x00281051,
)


def encode_gsps(context: ResultContext) -> Dataset | None:
    """One presentation state over every key image; None where none stands out."""
    chosen = key_slices(context)
    if not chosen:
        return None
    by_uid = {str(image.SOPInstanceUID): image for image in source_images(context)}
    images = {uid: by_uid[uid] for uid in dict.fromkeys(str(one.header.SOPInstanceUID) for one in chosen)}
    for image in images.values():
        image.SamplesPerPixel = 1
    lut, window = _grey_scale(context, [one.header for one in chosen])
    is_inverse = context.source_headers[0].get("PhotometricInterpretation") == "MONOCHROME1"
    result = GrayscaleSoftcopyPresentationState(
        referenced_images=list(images.values()),
        series_instance_uid=context.uid("GSPS series"),
        series_number=context.series_number("GSPS"),
        sop_instance_uid=context.uid("GSPS instance"),
        instance_number=1,
        manufacturer=context.publisher[:64],
        manufacturer_model_name=context.model_name[:64],
        software_versions=context.model_version[:64],
        device_serial_number=context.weights_sha256[:64],
        content_label="AI_FINDINGS",
        content_description=f"{context.words.not_reviewed}; {context.clearance_words}"[:64],
        graphic_layers=[_LAYER],
        graphic_annotations=[_annotation(context, one, images) for one in chosen],
        voi_lut_transformations=window,
        presentation_lut_transformation=PresentationLUTTransformation(
            "INVERSE" if is_inverse else "IDENTITY"
        ),
        specific_character_set="ISO_IR 192",
    )
    result.update(lut)
    stamp(result, context, "GSPS")
    del result.ContentDate, result.ContentTime  # its own are below
    result.PresentationCreationDate = context.local_created_at.strftime("%Y%m%d")
    result.PresentationCreationTime = context.local_created_at.strftime("%H%M%S.%f")
    return result


def _annotation(context: ResultContext, one: KeySlice, images: dict[str, Dataset]) -> GraphicAnnotation:
    notice = TextObject(
        f"{context.words.not_reviewed}\r\n{context.model_name} {context.model_version}",
        units="DISPLAY",
        bounding_box=(0.01, 0.01, 0.5, 0.08),
        text_justification="LEFT",
    )
    return GraphicAnnotation(
        referenced_images=[images[str(one.header.SOPInstanceUID)]],
        referenced_frame_number=one.frame_number if one.is_multiframe else None,
        graphic_layer=_LAYER,
        graphic_objects=[shape for mark in one.marks for shape in _shapes(mark)],
        text_objects=[notice, *(_label(mark) for mark in one.marks)],
    )


def _shapes(mark: Mark) -> Iterator[GraphicObject]:
    for points in (mark.outline, *mark.axes):
        yield GraphicObject(
            "POLYLINE", points, units="PIXEL", tracking_id=mark.tracking_id, tracking_uid=mark.tracking_uid
        )


def _label(mark: Mark) -> TextObject:
    right, top = float(mark.outline[:, 0].max()), float(mark.outline[:, 1].min())
    return TextObject(
        mark.label,
        units="PIXEL",
        anchor_point=(right + _LABEL_GAP_PX, top),
        anchor_point_visible=False,
        tracking_id=mark.tracking_id,
        tracking_uid=mark.tracking_uid,
    )


def _grey_scale(
    context: ResultContext, headers: list[Dataset]
) -> tuple[Dataset, list[SoftcopyVOILUTTransformation] | None]:
    """How stored values become grey: elements of the Modality LUT, and the window. None: left to the viewer.

    A presentation state replaces what the image says (PS3.4 N.2.1), so a window without the rescaling would be wrong.
    """
    rescaling = {_rescaling(header) for header in headers}
    slope, intercept = rescaling.pop() if len(rescaling) == 1 else (None, None)
    is_ct = isinstance(context.image, Volume)
    lut = Dataset()
    if "ModalityLUTSequence" in headers[0]:
        lut.ModalityLUTSequence = headers[0].ModalityLUTSequence
    elif slope is not None and intercept is not None:
        lut.RescaleSlope, lut.RescaleIntercept = DS(slope, auto_format=True), DS(intercept, auto_format=True)
        lut.RescaleType = "HU" if is_ct else "US"
    if is_ct:
        window = LUNG_WINDOW_HU if slope is not None else None
    else:
        center, width = number(headers[0], _WINDOW_CENTER), number(headers[0], _WINDOW_WIDTH)
        window = (center, width) if center is not None and width is not None and width >= 1 else None
    return lut, [SoftcopyVOILUTTransformation(*window)] if window else None


def _rescaling(header: Dataset) -> tuple[float | None, float | None]:
    """Slope and intercept of an image, or of all frames of a multi-frame one."""
    shared = header.get("SharedFunctionalGroupsSequence")
    macro = shared[0].get("PixelValueTransformationSequence") if shared else None
    holder = macro[0] if macro else header
    return number(holder, _RESCALE_SLOPE), number(holder, _RESCALE_INTERCEPT)
