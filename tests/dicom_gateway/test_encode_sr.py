"""The SR of a result: what highdicom reads back, and what a person reads."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from dicom_gateway.encode_errors import FindingSliceUnknown, InvalidResultContext, SourceHeadersMixed
from dicom_gateway.encode_seg import encode_seg
from dicom_gateway.encode_sr import encode_sr
from dicom_gateway.result_context import GuidelineWords
from tests.result_builders import (
    CLEARANCE,
    ball,
    result_context,
    synthetic_headers,
    synthetic_result,
    volume_of,
)

GOLDEN = Path(__file__).resolve().parent.parent / "golden"


def written(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def reread(dataset: Dataset) -> Dataset:
    return pydicom.dcmread(io.BytesIO(written(dataset)))


def content_tree(item: Dataset, depth: int = 0) -> list[str]:
    """One line for each content item, as a person would review it."""
    name = item.ConceptNameCodeSequence[0]
    line = f"{'  ' * depth}{item.get('RelationshipType', 'ROOT')} {item.ValueType} {name.CodeMeaning} "
    line += f"({name.CodeValue}, {name.CodingSchemeDesignator})"
    if "ContentTemplateSequence" in item:
        line += f" TID {item.ContentTemplateSequence[0].TemplateIdentifier}"
    lines = [f"{line}{_value(item)}"]
    for child in item.get("ContentSequence", []):
        lines += (
            content_tree(child, depth + 1)
            if "ConceptNameCodeSequence" in child
            else [f"{'  ' * (depth + 1)}{child.RelationshipType} {child.ValueType}{_value(child)}"]
        )
    return lines


def _value(item: Dataset) -> str:
    if item.ValueType == "CODE":
        code = item.ConceptCodeSequence[0]
        return f" = {code.CodeMeaning} ({code.CodeValue}, {code.CodingSchemeDesignator})"
    if item.ValueType == "NUM":
        measured = item.MeasuredValueSequence[0]
        return f" = {measured.NumericValue} {measured.MeasurementUnitsCodeSequence[0].CodeValue}"
    if item.ValueType in ("IMAGE", "COMPOSITE"):
        reference = item.ReferencedSOPSequence[0]
        segment = (
            f" segment {reference.ReferencedSegmentNumber}" if "ReferencedSegmentNumber" in reference else ""
        )
        return f" = {reference.ReferencedSOPInstanceUID}{segment}"
    if item.ValueType == "SCOORD":
        return f" = {item.GraphicType} {[round(float(value), 2) for value in item.GraphicData]}"
    return {"TEXT": lambda: f" = {item.TextValue}", "UIDREF": lambda: f" = {item.UID}"}.get(
        item.ValueType, lambda: ""
    )()


class TestContent:
    def test_each_finding_has_one_planar_group_and_a_volumetric_one_when_it_has_a_segment(self) -> None:
        context = synthetic_result()
        report = highdicom.sr.srread(io.BytesIO(written(encode_sr(context)))).content
        assert len(report.get_planar_roi_measurement_groups()) == 2
        assert len(report.get_volumetric_roi_measurement_groups()) == 1

    def test_every_planar_group_is_drawn_on_the_measured_source_slice(self) -> None:
        context = synthetic_result()
        report = highdicom.sr.srread(io.BytesIO(written(encode_sr(context)))).content
        for group, finding in zip(report.get_planar_roi_measurement_groups(), context.findings, strict=True):
            source = group.roi.ContentSequence[0].ReferencedSOPSequence[0]
            assert source.ReferencedSOPInstanceUID == finding.slice_sop_instance_uid
            points = np.asarray(group.roi.value)
            # 1 mm pixels from -32 mm: the centre of the finding in image coordinates.
            assert np.allclose(
                (points.min(axis=0) + points.max(axis=0)) / 2,
                [finding.center_lps_mm[0] + 32.5, finding.center_lps_mm[1] + 32.5],
                atol=1.0,
            )

    def test_the_outline_encloses_the_pixels_of_the_segment_on_that_slice(self) -> None:
        context = synthetic_result()
        report = highdicom.sr.srread(io.BytesIO(written(encode_sr(context)))).content
        finding = context.findings[0]
        points = np.asarray(report.get_planar_roi_measurement_groups()[0].roi.value)
        assert np.array_equal(points[0], points[-1])
        x, y = points[:-1, 0], points[:-1, 1]
        area = 0.5 * abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))
        assert finding.segment is not None
        mask = finding.segment.mask[finding.slice_index - finding.segment.origin[0]]
        assert area == pytest.approx(mask.sum())

    def test_the_measurements_are_those_of_the_finding(self) -> None:
        context = synthetic_result()
        document = encode_sr(context)
        lines = [line.strip() for line in content_tree(document)]
        finding = context.findings[0]
        for expected in (
            f"CONTAINS NUM Long axis (103339001, SCT) = {finding.long_axis_mm} mm",
            f"CONTAINS NUM Short axis (103340004, SCT) = {finding.short_axis_mm} mm",
            f"CONTAINS NUM Diameter (81827009, SCT) = {finding.mean_diameter_mm} mm",
            f"CONTAINS NUM Volume (118565006, SCT) = {finding.volume_mm3} mm3",
            "CONTAINS NUM Attenuation Coefficient (112031, DCM) = -850.0 [hnsf'U]",
            "CONTAINS NUM Certainty of Finding (111012, DCM) = 92.0 %",
        ):
            assert expected in lines

    def test_sr_and_seg_share_the_tracking_identifiers(self) -> None:
        context = synthetic_result()
        seg = encode_seg(context)
        assert seg is not None
        text = "\n".join(content_tree(encode_sr(context)))
        segment = seg.SegmentSequence[0]
        assert f"Tracking Unique Identifier (112040, DCM) = {segment.TrackingUID}" in text
        assert f"Tracking Identifier (112039, DCM) = {segment.TrackingID}" in text
        assert f"{seg.SOPInstanceUID} segment 1" in text

    def test_a_negative_result_says_what_was_assessed_and_what_was_not(self) -> None:
        context = synthetic_result(findings=())
        text = "\n".join(content_tree(encode_sr(context)))
        assert "Pulmonary nodule (786838002, SCT) = Not detected (260415000, SCT)" in text
        assert (
            "No pulmonary nodule was detected by the model at or above the operating threshold of 0.5" in text
        )
        assert "Assessed: pulmonary nodules in the lungs, on 12 axial slices" in text
        assert "Not assessed: all other findings" in text
        assert "Measurement Group" not in text
        assert encode_seg(context) is None

    def test_the_conclusion_names_the_largest(self) -> None:
        context = synthetic_result()
        assert context.words.conclusion(context).endswith("the largest has a mean diameter of 8.1 mm.")

    def test_what_is_larger_than_a_nodule_is_coded_and_called_a_mass(self) -> None:
        nodule, other = synthetic_result().findings
        mass = replace(nodule, label="Pulmonary mass", mean_diameter_mm=36.0)
        context = synthetic_result(findings=(mass, other))
        text = "\n".join(content_tree(encode_sr(context)))
        assert "Finding (121071, DCM) = Mass (4147007, SCT)" in text
        assert "Finding (121071, DCM) = Pulmonary nodule (786838002, SCT)" in text
        assert context.words.conclusion(context).startswith(
            "2 pulmonary nodule or mass candidates were detected"
        )
        seg = encode_seg(context)
        assert seg is not None
        kinds = [one.SegmentedPropertyTypeCodeSequence[0].CodeMeaning for one in seg.SegmentSequence]
        assert kinds == ["Mass"]

    def test_a_negative_result_names_the_sizes_that_the_model_was_made_for(self) -> None:
        text = "\n".join(content_tree(encode_sr(synthetic_result(findings=(), finding_mm=(4.0, 80.0)))))
        assert "No pulmonary nodule of 4 mm or more was detected by the model" in text
        assert "Not assessed: nodules below 4 mm, all other findings" in text

    def test_a_chosen_guideline_stands_with_its_category_and_the_rule_of_each_finding(self) -> None:
        note = "4A: solid, 8 to < 15 mm, at baseline."
        chosen = GuidelineWords("Lung-RADS v2022", "ACR 2022", "4A", ((1, note),))
        text = "\n".join(content_tree(encode_sr(synthetic_result(guideline=chosen))))
        assert "CONTAINS TEXT Guideline category (GUIDELINE, 99RADMETER) = Lung-RADS v2022: 4A" in text
        assert f"= Finding 1: {note}" in text
        abstains = GuidelineWords("Lung-RADS v2022", "ACR 2022", None, ((1, "The age is not known."),))
        text = "\n".join(content_tree(encode_sr(synthetic_result(guideline=abstains))))
        assert "= Lung-RADS v2022: no category, see the notes" in text

    def test_the_evidence_holds_the_map_only_where_one_is_made(self) -> None:
        def classes(**changes: Any) -> set[str]:
            study = encode_sr(synthetic_result(**changes)).CurrentRequestedProcedureEvidenceSequence[0]
            return {
                one.ReferencedSOPClassUID.name
                for series in study.ReferencedSeriesSequence
                for one in series.ReferencedSOPSequence
            }

        assert classes(kinds=frozenset({"SR", "SEG", "PM"})) - classes() == {"Parametric Map Storage"}
        assert classes(kinds=frozenset({"SR", "PM"}), findings=()) == {"CT Image Storage"}

    def test_the_tree_is_the_reviewed_one(self) -> None:
        expected = (GOLDEN / "sr_two_findings.txt").read_text(encoding="utf-8")
        assert "\n".join(content_tree(encode_sr(synthetic_result()))) + "\n" == expected


class TestHeader:
    def test_it_is_unverified_in_the_study_of_its_source_and_not_reviewed(self) -> None:
        context = synthetic_result()
        document = reread(encode_sr(context))
        source = context.source_headers[0]
        for keyword in ("StudyInstanceUID", "PatientID", "PatientBirthDate", "AccessionNumber", "StudyDate"):
            assert document[keyword].value == source[keyword].value
        assert document.ReferringPhysicianName == "Roe^Richard"
        assert (document.VerificationFlag, document.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
        assert document.SeriesInstanceUID != source.SeriesInstanceUID
        assert document.SeriesDescription == "lung_nodule_ct 0.1.0 SR: AI result, not reviewed, not cleared"
        assert document.SeriesNumber > 9000

    def test_the_evidence_lists_every_source_instance_and_the_segmentation(self) -> None:
        context = synthetic_result()
        series = encode_sr(context).CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
        listed = {
            (str(item.SeriesInstanceUID), str(reference.ReferencedSOPInstanceUID))
            for item in series
            for reference in item.ReferencedSOPSequence
        }
        expected = {("1.2.3.4", uid) for uid in context.volume.slice_sop_instance_uids}
        assert listed == expected | {(context.uid("SEG series"), context.uid("SEG instance"))}

    def test_the_model_stands_as_processing_equipment(self) -> None:
        item = encode_sr(synthetic_result()).ContributingEquipmentSequence[0]
        assert item.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
        assert (item.ManufacturerModelName, item.SoftwareVersions) == ("lung_nodule_ct", "0.1.0")
        assert item.DeviceUID == synthetic_result().device_uid
        assert CLEARANCE in item.ContributionDescription
        assert "AI result, not reviewed" in item.ContributionDescription
        assert "ab" * 32 in item.ContributionDescription

    def test_a_long_model_name_never_cuts_the_warning(self) -> None:
        description = encode_sr(synthetic_result(model_name="m" * 80)).SeriesDescription
        assert len(description) == 64
        assert description.endswith(": AI result, not reviewed, not cleared")


class TestDeterminism:
    def test_the_same_result_encodes_to_the_same_bytes(self) -> None:
        assert written(encode_sr(synthetic_result())) == written(encode_sr(synthetic_result()))

    @pytest.mark.parametrize(
        "change",
        [{"revision": 2}, {"model_version": "0.2.0"}, {"uid_seed": "study-2"}, {"weights_sha256": "cd" * 32}],
        ids=str,
    )
    def test_another_result_has_other_uids(self, change: dict[str, object]) -> None:
        first, other = encode_sr(synthetic_result()), encode_sr(synthetic_result(**change))
        assert first.SOPInstanceUID != other.SOPInstanceUID
        assert first.SeriesInstanceUID != other.SeriesInstanceUID

    def test_done_again_later_it_is_the_same_object(self) -> None:
        """Restored from a backup, the work of the lost hours is done again: archives must see no second result."""
        first = synthetic_result()
        later = synthetic_result(created_at=first.created_at + timedelta(hours=3))
        for role in ("SR instance", "SR series", "SEG instance", "PDF instance"):
            assert first.uid(role) == later.uid(role)

    def test_times_follow_the_zone_that_the_source_states(self) -> None:
        headers = synthetic_headers(TimezoneOffsetFromUTC="+0000")
        document = encode_sr(result_context(headers, volume_of(headers)))
        assert (document.ContentDate, document.ContentTime) == ("20250303", "210607.890000")
        assert document.ContributingEquipmentSequence[0].ContributionDateTime == "20250303210607.890000+0000"


class TestRefusals:
    def test_a_time_without_zone_is_refused(self) -> None:
        with pytest.raises(InvalidResultContext, match="time zone"):
            synthetic_result(created_at=synthetic_result().created_at.replace(tzinfo=None))

    def test_headers_of_two_studies_are_refused(self) -> None:
        headers = synthetic_headers()
        headers[3].StudyInstanceUID = "9.9"
        with pytest.raises(SourceHeadersMixed):
            result_context(headers, volume_of(headers))

    def test_a_finding_on_an_unknown_slice_is_refused(self) -> None:
        headers = synthetic_headers()
        volume = volume_of(headers)
        finding = replace(ball(volume, (0, 0, 10), 6.0), slice_sop_instance_uid="9.9.9")
        with pytest.raises(FindingSliceUnknown):
            encode_sr(result_context(headers, volume, [finding]))
