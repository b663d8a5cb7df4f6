"""Maps, key images, presentation states and pictures: they say what the SR says, in the same places."""

from __future__ import annotations

import io
from dataclasses import replace

import highdicom
import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicom_gateway.encode_gsps import encode_gsps
from dicom_gateway.encode_pm import encode_pm
from dicom_gateway.encode_sr import encode_sr
from dicom_gateway.key_slices import key_slices
from dicom_gateway.result_context import ResultContext
from pipeline.result_set import RESULT_KINDS, encode_result
from study.volume import Volume
from tests.dicom_gateway.test_encode_multiframe import context as enhanced
from tests.dicom_gateway.test_encode_radiograph import HEADER, NEGATIVE, POSITIVE, items
from tests.dicom_gateway.test_encode_structures import context_of as lobes_of
from tests.radiograph_files import radiograph_context, statement
from tests.result_builders import result_context, synthetic_headers, synthetic_result, volume_of

__all__ = ["enhanced"]  # a fixture


def made(context: ResultContext) -> dict[str, list[Dataset]]:
    """Every object of a result by its kind."""
    found: dict[str, list[Dataset]] = {}
    for kind, dataset in encode_result(replace(context, kinds=RESULT_KINDS), b"%PDF-1.7"):
        found.setdefault(kind, []).append(dataset)
    return found


def written(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


CONTEXTS = {
    "nodules": synthetic_result,
    "none": lambda **changes: synthetic_result(findings=(), **changes),
    "lobes": lambda **changes: replace(
        lobes_of(synthetic_headers(), volume_of(synthetic_headers())), **changes
    ),
    "radiograph": lambda **changes: radiograph_context(HEADER, [POSITIVE, NEGATIVE], **changes),
}


@pytest.mark.parametrize("name", CONTEXTS)
class TestEveryKind:
    def test_a_repeated_step_makes_the_same_bytes(self, name: str) -> None:
        first, second = (
            [written(one) for kind in made(CONTEXTS[name]()).values() for one in kind] for _ in "ab"
        )
        assert first == second

    def test_it_lies_in_a_series_of_its_own_in_the_original_study_and_says_who_made_it(
        self, name: str
    ) -> None:
        context = CONTEXTS[name]()
        objects = made(context)
        uids = {one.SOPInstanceUID for several in objects.values() for one in several}
        assert len(uids) == sum(map(len, objects.values()))
        assert len({several[0].SeriesInstanceUID for several in objects.values()}) == len(objects)
        assert len({several[0].SeriesNumber for several in objects.values()}) == len(objects)
        for several in objects.values():
            for one in several:
                assert one.StudyInstanceUID == context.study_instance_uid
                assert one.SpecificCharacterSet == "ISO_IR 192"
                assert "AI result, not reviewed, not cleared" in one.SeriesDescription
                assert one.SeriesNumber > 9000
                (equipment,) = one.ContributingEquipmentSequence
                assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
                assert equipment.DeviceUID == context.device_uid
                assert equipment.SoftwareVersions == context.model_version

    def test_the_documents_name_every_object_of_the_set_that_they_rest_on(self, name: str) -> None:
        objects = made(CONTEXTS[name]())

        def evidence(document: Dataset) -> set[str]:
            return {
                instance.ReferencedSOPInstanceUID
                for study in document.CurrentRequestedProcedureEvidenceSequence
                for series in study.ReferencedSeriesSequence
                for instance in series.ReferencedSOPSequence
            }

        made_of = {kind: {one.SOPInstanceUID for one in several} for kind, several in objects.items()}
        maps = made_of.get("SEG", set()) | made_of.get("PM", set())
        assert maps <= evidence(objects["SR"][0])
        for keys in objects.get("KEYS", []):
            assert maps | made_of["SR"] <= evidence(keys)


class TestMap:
    def test_on_ct_each_voxel_of_a_segment_has_the_certainty_that_the_sr_states(self) -> None:
        context = synthetic_result()
        finding = context.findings[0]
        assert finding.segment is not None
        dataset = encode_pm(context)
        assert dataset is not None
        read = highdicom.imread(io.BytesIO(written(dataset))).get_volume(apply_real_world_transform=True)
        places = np.argwhere(read.array > 0)
        np.testing.assert_allclose(read.array[read.array > 0], 100 * finding.score)
        there = read.map_indices_to_reference(places)
        voxels = np.argwhere(finding.segment.mask) + np.asarray(finding.segment.origin)
        wanted = context.volume.to_lps_mm(voxels.astype(float))
        assert {tuple(one) for one in np.round(there, 3)} == {tuple(one) for one in np.round(wanted, 3)}
        mapping = dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
        assert "not saliency" in mapping.LUTExplanation

    def test_where_segments_overlap_the_greater_certainty_stands(self) -> None:
        context = synthetic_result()
        first = context.findings[0]
        weaker = replace(first, id=2, score=0.2, tracking_uid="2.25.9")
        dataset = encode_pm(replace(context, findings=(first, weaker)))
        assert dataset is not None
        assert set(np.unique(dataset.pixel_array)) == {0, 920}

    def test_on_a_radiograph_it_is_the_models_map_of_each_positive_statement(self) -> None:
        other = statement("cardiomegaly", 0.8)
        dataset = encode_pm(radiograph_context(HEADER, [POSITIVE, other]))
        assert dataset is not None
        for frame, one in enumerate((POSITIVE, other)):
            assert one.saliency is not None
            np.testing.assert_allclose(dataset.pixel_array[frame] / 1000, one.saliency, atol=0.0005)
        labels = [
            frame.RealWorldValueMappingSequence[0].LUTLabel
            for frame in dataset.PerFrameFunctionalGroupsSequence
        ]
        assert labels == ["pneumothorax", "cardiomegaly"]
        spacing = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
        assert spacing == pytest.approx([200 / 28, 120 / 28])

    def test_there_is_none_of_what_has_no_certainty(self) -> None:
        for name in ("none", "lobes"):
            assert encode_pm(CONTEXTS[name]()) is None
        assert encode_pm(radiograph_context(HEADER, [NEGATIVE])) is None


class TestPresentationState:
    def test_each_outline_lies_where_the_sr_draws_it_and_has_its_tracking_uid(self) -> None:
        context = synthetic_result()
        state = encode_gsps(context)
        assert state is not None
        drawn = {
            (shape.TrackingUID, annotation.ReferencedImageSequence[0].ReferencedSOPInstanceUID): shape
            for annotation in state.GraphicAnnotationSequence
            for shape in reversed(annotation.GraphicObjectSequence)
        }
        regions = [one for one in items(encode_sr(context)) if one.get("ValueType") == "SCOORD"]
        for finding, region in zip(context.findings, regions, strict=True):
            shape = drawn[finding.tracking_uid, finding.slice_sop_instance_uid]
            assert region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == (
                finding.slice_sop_instance_uid
            )
            points = np.asarray(shape.GraphicData).reshape(-1, 2)
            there = np.asarray(region.GraphicData).reshape(-1, 2)
            np.testing.assert_allclose(points.max(axis=0), there.max(axis=0), atol=0.05)
            np.testing.assert_allclose(points.min(axis=0), there.min(axis=0), atol=0.05)

    def test_the_lung_window_comes_with_the_rescaling_that_it_is_about(self) -> None:
        headers = synthetic_headers(RescaleSlope="1", RescaleIntercept="-1024")
        findings = synthetic_result().findings
        state = encode_gsps(result_context(headers, volume_of(headers), findings))
        assert state is not None
        assert (state.RescaleIntercept, state.RescaleSlope, state.RescaleType) == (-1024, 1, "HU")
        window = state.SoftcopyVOILUTSequence[0]
        assert (window.WindowCenter, window.WindowWidth) == (-600, 1500)
        unscaled = encode_gsps(synthetic_result())
        assert unscaled is not None
        assert "SoftcopyVOILUTSequence" not in unscaled

    def test_an_inverted_radiograph_stays_as_its_reader_sees_it(self) -> None:
        inverted = Dataset()
        inverted.update(HEADER)
        inverted.PhotometricInterpretation = "MONOCHROME1"
        state = encode_gsps(radiograph_context(inverted, [POSITIVE]))
        assert state is not None
        assert state.PresentationLUTShape == "INVERSE"

    def test_frames_of_an_enhanced_image_are_told_apart(self, enhanced: ResultContext) -> None:
        state = encode_gsps(enhanced)
        assert state is not None
        frames = [
            one.ReferencedImageSequence[0].ReferencedFrameNumber for one in state.GraphicAnnotationSequence
        ]
        assert frames == [finding.slice_frame_number for finding in enhanced.findings]
        for several in made(enhanced).values():
            for one in several:
                written(one)


class TestKeyImages:
    def test_findings_on_one_slice_share_their_key_image(self) -> None:
        context = synthetic_result()
        first = context.findings[0]
        twin = replace(first, id=2, tracking_uid="2.25.9")
        (one,) = key_slices(replace(context, findings=(first, twin)))
        assert [mark.label for mark in one.marks] == ["1: 8.1 mm", "2: 8.1 mm"]

    def test_the_selection_is_of_interest_and_names_slices_and_objects(self) -> None:
        context = synthetic_result()
        objects = made(context)
        (keys,) = objects["KEYS"]
        assert keys.ConceptNameCodeSequence[0].CodeValue == "113000"
        named = [
            one.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
            for one in keys.ContentSequence
            if "ReferencedSOPSequence" in one
        ]
        slices = [finding.slice_sop_instance_uid for finding in context.findings]
        assert named == [*slices, *(objects[kind][0].SOPInstanceUID for kind in ("SR", "SEG", "PM"))]

    def test_a_negative_result_has_none(self) -> None:
        assert set(made(synthetic_result(findings=()))) == {"SR", "SR2D", "TEXT", "PDF", "SC"}


class TestPictures:
    def test_the_mark_lies_around_the_finding_also_where_the_volume_was_set_upright(self) -> None:
        """A volume whose rows begin 10 mm further down than those of its slices: pixels move, marks with them."""
        context = synthetic_result()
        straight = self.marked(context)
        volume = context.volume
        affine = volume.affine_mm.copy()
        affine[:3, 3] += affine[:3, 1] * 10
        moved = Volume(
            volume.voxels, affine, volume.slice_sop_instance_uids, volume.slice_frame_numbers,
            volume.series_instance_uid, volume.frame_of_reference_uid, volume.slice_thickness_mm,
        )  # fmt: skip
        findings = tuple(replace(one, segment=None) for one in context.findings)
        shifted = self.marked(replace(context, image=moved, findings=findings))
        scale = 768 / 64
        assert shifted == pytest.approx(straight - 10 * scale, abs=scale)

    @staticmethod
    def marked(context: ResultContext) -> float:
        """The mean row of what is drawn in the colour of the first mark, the label aside."""
        picture = made(context)["SC"][0].pixel_array
        rows, columns = np.nonzero((picture[52:820] == (255, 208, 60)).all(axis=-1))
        return float(rows[columns < 340].mean())

    def test_each_carries_the_warning_its_window_and_its_source_and_no_name_of_a_patient(self) -> None:
        context = synthetic_result()
        for picture, finding in zip(made(context)["SC"], context.findings, strict=True):
            assert picture.BurnedInAnnotation == "YES"
            assert picture.ImageComments == "AI result, not reviewed"
            assert "Window W 1500 L -600 HU" in picture.DerivationDescription
            assert picture.SourceImageSequence[0].ReferencedSOPInstanceUID == finding.slice_sop_instance_uid
            assert "PixelSpacing" not in picture

    def test_a_negative_result_is_a_page_of_words(self) -> None:
        (page,) = made(synthetic_result(findings=()))["SC"]
        assert "SourceImageSequence" not in page
        assert (page.pixel_array > 200).sum() > 1000

    def test_more_key_images_than_fit_are_said_to_be_elsewhere(self) -> None:
        headers = synthetic_headers(20)
        volume = volume_of(headers)
        one = synthetic_result().findings[0]
        findings = tuple(
            replace(
                one,
                id=number,
                slice_index=number,
                slice_sop_instance_uid=f"1.2.3.4.{number + 1}",
                segment=None,
            )
            for number in range(1, 16)
        )
        context = result_context(headers, volume, findings)
        assert len(made(context)["SC"]) == 12
        assert "15 images have findings" in context.words.picture_of(1, 12, 15)
