"""Structures, such as the lobes of the lungs, as SEG and SR: they come back whole, and validators accept them."""

from __future__ import annotations

import io
import time

import highdicom
import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicom_gateway.encode_seg import encode_seg
from dicom_gateway.encode_sr import encode_sr
from dicom_gateway.result_context import ResultContext
from models.lung_ct_segmentation.lobes import LOBES, NAMES
from study.answer import Structure
from study.findings import Segment
from study.volume import Volume
from tests.dicom_gateway.test_encode_sr import content_tree
from tests.result_builders import INTENDED_USE, result_context, synthetic_headers, volume_of


def lobes(volume: Volume, slices: slice = slice(None)) -> tuple[Structure, ...]:
    """Five ellipsoids that do not touch; the first slices of the series show none."""
    shape = volume.voxels[slices].shape
    found = []
    for label, name in NAMES.items():
        size = (shape[0] * 2 // 3, shape[1] // 4, shape[2] // 8)
        grid = np.meshgrid(*(np.linspace(-1, 1, count) for count in size), indexing="ij")
        mask = sum(axis**2 for axis in grid) <= 1
        origin = (shape[0] // 4, shape[1] // 3, (label - 1) * shape[2] // 6 + 2)
        millilitres = float(mask.sum() * np.prod(volume.spacing_mm)) / 1000
        found.append(
            Structure(
                name, LOBES[label], Segment(mask, origin), millilitres, -850.0 + label, f"2.25.{label}", 0.01
            )
        )
    return tuple(found)


def context_of(headers: list[Dataset], volume: Volume) -> ResultContext:
    return result_context(
        headers, volume, structures=lobes(volume), model_name="lung_ct_segmentation", operating_threshold=None
    )


def test_each_structure_is_a_segment_with_its_code_and_comes_back_whole() -> None:
    headers = synthetic_headers()
    volume = volume_of(headers)
    context = context_of(headers, volume)
    dataset = encode_seg(context)
    assert dataset is not None
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    read = highdicom.seg.segread(io.BytesIO(buffer.getvalue()))
    for number, structure in enumerate(context.structures, start=1):
        described = read.get_segment_description(number)
        assert described.segmented_property_type.value == structure.code.value
        assert described.segmented_property_category.meaning == "Anatomical Structure"
        assert described.tracking_uid == structure.tracking_uid
        pixels = read.get_volume(segment_numbers=[number], combine_segments=False)
        assert pixels.array[..., 0].sum() == structure.segment.mask.sum()


def test_the_sr_names_the_volume_and_attenuation_of_each_structure_and_claims_nothing_of_nodules() -> None:
    headers = synthetic_headers()
    context = context_of(headers, volume_of(headers))
    text = str(encode_sr(context))
    for structure in context.structures:
        assert structure.code.meaning in text
        assert (
            f"{structure.label} {structure.volume_ml:.0f} ml, mean {structure.mean_hu:.0f} HU"
            in context.words.conclusion(context)
        )
    assert text.count("'Volume'") == 5
    assert "Not assessed: disease of any kind" in context.words.what_was_assessed(context)
    assert "Pulmonary nodule" not in text


def test_outlines_that_found_nothing_are_no_negative_result_about_nodules() -> None:
    headers = synthetic_headers()
    context = result_context(headers, volume_of(headers), operating_threshold=None, outlines=True)
    text = "\n".join(content_tree(encode_sr(context)))
    assert "nodule" not in text.replace(context.model_name, "").replace(INTENDED_USE, "")
    assert "Not detected" not in text
    assert "None of the structures that the model outlines was found. This says nothing of disease." in text


@pytest.mark.soak
def test_a_thousand_slices_are_encoded_in_seconds_and_without_empty_frames() -> None:
    headers = synthetic_headers(slice_count=1000, size=512)
    volume = volume_of(headers)
    began = time.monotonic()
    dataset = encode_seg(context_of(headers, volume))
    assert dataset is not None
    assert time.monotonic() - began < 60
    frames = int(dataset.NumberOfFrames)
    assert frames == sum(int(one.segment.mask.any(axis=(1, 2)).sum()) for one in lobes(volume)), (
        "frames with nothing in them are left out"
    )
    assert len(dataset.PixelData) <= frames * 512 * 512 // 8 + 1
