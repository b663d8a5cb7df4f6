"""Changes to a result set, each of which breaks exactly one rule of the gate, and what the gate must say of it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

Objects = dict[str, Dataset]
Change = Callable[[Objects], None]


def put(kind: str, **values: Any) -> Change:
    """Attributes of the data set get another value; None removes."""

    def change(objects: Objects) -> None:
        for keyword, value in values.items():
            if value is None:
                delattr(objects[kind], keyword)
            else:
                setattr(objects[kind], keyword, value)

    return change


def item(dataset: Dataset, *path: str) -> Dataset:
    """The first item below the sequences of `path`."""
    for keyword in path:
        dataset = dataset[keyword].value[0]
    return dataset


def below(kind: str, *path: str, **values: Any) -> Change:
    return lambda objects: put("there", **values)({"there": item(objects[kind], *path)})


def content(dataset: Dataset, value_type: str, meaning: str = "") -> Dataset:
    """The first content item of a type, and of a concept name."""
    for one in dataset.get("ContentSequence", ()):
        name = one.ConceptNameCodeSequence[0].CodeMeaning if "ConceptNameCodeSequence" in one else ""
        if one.ValueType == value_type and meaning in ("", name):
            return one
        try:
            return content(one, value_type, meaning)
        except LookupError:
            continue
    raise LookupError(value_type)


def said(value_type: str, meaning: str = "", **values: Any) -> Change:
    return lambda objects: put("there", **values)({"there": content(objects["SR"], value_type, meaning)})


def elsewhere(objects: Objects) -> None:
    """The rectangle is drawn right of the image."""
    region = content(objects["SR"], "SCOORD")
    region.GraphicData = [float(value) + 60 for value in region.GraphicData]


def another_patient_inside(objects: Objects) -> None:
    content(objects["SR"], "TEXT").PatientID = "P1"


def a_person_more(objects: Objects) -> None:
    objects["PDF"].OperatorsName = "Somebody^Else"


def flipped(objects: Objects) -> None:
    """The frames lie in the order of the slices from the other end, as MONAI's once did."""
    groups = objects["SEG"].PerFrameFunctionalGroupsSequence
    places = [group.PlanePositionSequence for group in groups]
    for group, place in zip(groups, reversed(places), strict=True):
        group.PlanePositionSequence = place


def an_image_more(objects: Objects) -> None:
    references = item(objects["SEG"], "ReferencedSeriesSequence").ReferencedInstanceSequence
    references.append(deepcopy(references[0]))
    references[-1].ReferencedSOPInstanceUID = "1.2.7"


def shorter_evidence(objects: Objects) -> None:
    series = item(objects["SR"], "CurrentRequestedProcedureEvidenceSequence", "ReferencedSeriesSequence")
    del series.ReferencedSOPSequence[0]  # an image that was read and is not drawn on


def evidence_without_the_drawn_one(objects: Objects) -> None:
    drawn = item(
        objects["SEG"], FRAME, "DerivationImageSequence", "SourceImageSequence"
    ).ReferencedSOPInstanceUID
    series = item(objects["SEG"], "ReferencedSeriesSequence")
    references = series.ReferencedInstanceSequence
    series.ReferencedInstanceSequence = [one for one in references if one.ReferencedSOPInstanceUID != drawn]


def tracked_apart(objects: Objects) -> None:
    """The segment's identifier is another finding's."""
    groups = content(objects["SR"], "CONTAINER", "Imaging Measurements").ContentSequence
    other = content(groups[-1], "UIDREF", "Tracking Unique Identifier").UID
    item(objects["SEG"], "SegmentSequence").TrackingUID = other


def lone_segment(objects: Objects) -> None:
    """As of a lone finding, of whose segment the SR says nothing but the tracking UID; and that is another one."""
    measurements = content(objects["SR"], "CONTAINER", "Imaging Measurements")
    groups = measurements.ContentSequence
    measurements.ContentSequence = [
        group for group in groups if all(one.ValueType != "IMAGE" for one in group.ContentSequence)
    ]
    item(objects["SEG"], "SegmentSequence").TrackingUID = "2.25.77"


def a_segment_more(objects: Objects) -> None:
    item(content(objects["SR"], "IMAGE"), "ReferencedSOPSequence").ReferencedSegmentNumber = 7


def no_origin(objects: Objects) -> None:
    del item(objects["SEG"], FRAME).DerivationImageSequence


def another_file_meta(objects: Objects) -> None:
    objects["PDF"].file_meta.MediaStorageSOPInstanceUID = "2.25.5"


def no_relationship(objects: Objects) -> None:
    del content(objects["SR"], "TEXT").RelationshipType


def a_mark_outside(objects: Objects) -> None:
    graphic = item(objects["GSPS"], "GraphicAnnotationSequence", "GraphicObjectSequence")
    graphic.GraphicData = [-1.0, *list(graphic.GraphicData)[1:]]


def a_key_without_evidence(objects: Objects) -> None:
    del item(objects["KEYS"], *EVIDENCE).ReferencedSOPSequence[0]


EVIDENCE = ("CurrentRequestedProcedureEvidenceSequence", "ReferencedSeriesSequence")
FRAME = "PerFrameFunctionalGroupsSequence"
EQUIPMENT = "ContributingEquipmentSequence"

MUTATIONS: dict[str, tuple[Change, str]] = {
    "another study": (put("PDF", StudyInstanceUID="1.2.9"), "PDF: it is not in the study of its source"),
    "another name": (put("SR", PatientName="Roe^Richard"), "SR: PatientName is not that of the source"),
    "an id that the source lacks": (put("SEG", IssuerOfPatientID="X"), "SEG: IssuerOfPatientID is not that"),
    "no accession": (put("SR", AccessionNumber=""), "SR: AccessionNumber is not that of the source"),
    "an offset that the source lacks": (put("SR", TimezoneOffsetFromUTC="+0800"), "SR: TimezoneOffsetFromUTC"),
    "age invented": (put("PDF", PatientAge="064Y"), "PDF: PatientAge is not that of the source"),
    "patient id in the text": (another_patient_inside, "SR: PatientID is not that of the source"),
    "another person": (a_person_more, "PDF: it names a person whom the source does not name"),
    "low series number": (put("SEG", SeriesNumber=3), "SEG: its SeriesNumber is not 9000 or higher"),
    "no notice": (put("SR", SeriesDescription="Result"), "SR: its SeriesDescription does not say"),
    "no equipment": (put("PDF", ContributingEquipmentSequence=None), "PDF: its ContributingEquipmentSequence"),
    "equipment of another version": (below("SR", EQUIPMENT, SoftwareVersions="9"), "SR: its ContributingEquipm"),
    "equipment without device": (below("SR", EQUIPMENT, DeviceUID=None), "SR: its ContributingEquipmentSeq"),
    "another model": (put("SEG", ManufacturerModelName="other"), "SEG: its equipment is not the model"),
    "verified": (put("SR", VerificationFlag="VERIFIED"), "SR: its VerificationFlag is not UNVERIFIED"),
    "verified PDF": (put("PDF", VerificationFlag="VERIFIED"), "PDF: its VerificationFlag is not UNVERIFIED"),
    "partial": (put("SR", CompletionFlag="PARTIAL"), "SR: its CompletionFlag is not COMPLETE"),
    "final": (put("SR", PreliminaryFlag="FINAL"), "SR: its PreliminaryFlag is FINAL"),
    "a verifier": (put("SR", VerifyingObserverSequence=DicomSequence([])), "SR: it has a VerifyingObserverSeq"),
    "not burned in": (put("PDF", BurnedInAnnotation="NO"), "PDF: it does not say that annotation is burned in"),
    "file meta": (another_file_meta, "PDF: its file meta information names another object"),
    "same series": (lambda o: put("PDF", SeriesInstanceUID=o["SR"].SeriesInstanceUID)(o), "have the same Series"),
    "same number": (lambda o: put("PDF", SeriesNumber=o["SR"].SeriesNumber)(o), "have the same SeriesNumber"),
    "uid not valid": (put("PDF", FrameOfReferenceUID="2.25.012"), "PDF: a UID is not valid"),
    "unknown instance": (an_image_more, "SEG: it refers to an instance th"),
    "another class": (below("PDF", "SourceInstanceSequence", ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.4"),
                      "PDF: it refers to an instance as of another SOP class"),
    "another series": (below("SR", *EVIDENCE, SeriesInstanceUID="1.2.8"), "SR: it refers to an instance as of ano"),
    "study of evidence": (below("SR", EVIDENCE[0], StudyInstanceUID="1.2.8"), "SR: it refers to another study"),
    "evidence incomplete": (shorter_evidence, "SR: its list of evidence does not hold every image that the model"),
    "referenced series incomplete": (evidence_without_the_drawn_one, "SEG: it refers to an instance that its list"),
    "segment": (a_segment_more, "SR: it refers to a segment that does not exist"),
    "source series": (said("UIDREF", "Source Series for Segmentation", UID="1.2.8"), "SR: the source series of a seg"),
    "tracking uid": (tracked_apart, "SR: a group and its segment have different tracking UIDs"),
    "unknown tracking uid": (lone_segment, "SEG: the SR does not know the TrackingUID of a segment"),
    "no tracking id": (below("SEG", "SegmentSequence", TrackingID=None), "SEG: a segment has no tracking identifier"),
    "flipped": (flipped, "SEG: a frame does not lie on its source image"),
    "moved": (below("SEG", FRAME, "PlanePositionSequence", ImagePositionPatient=[-30, -32, 8]),
              "SEG: a frame does not lie on its source image"),
    "turned": (below("SEG", "SharedFunctionalGroupsSequence", "PlaneOrientationSequence",
               ImageOrientationPatient=[0, 1, 0, 1, 0, 0]), "SEG: a frame does not lie on its source image"),
    "spacing": (below("SEG", "SharedFunctionalGroupsSequence", "PixelMeasuresSequence", PixelSpacing=[1.0, 1.1]),
                "SEG: a frame does not lie on its source image"),
    "frame of reference": (put("SEG", FrameOfReferenceUID="2.25.4"), "SEG: its frame of reference is not that of the"),
    "frame without origin": (no_origin, "SEG: a frame does not say which image it is derived from"),
    "pixels": (lambda o: put("SEG", PixelData=o["SEG"].PixelData[:-2])(o), "SEG: its pixels are not as many"),
    "region outside": (elsewhere, "SR: a region lies outside its image"),
    "region of one point": (said("SCOORD", GraphicData=[1.0, 1.0]), "SR: a region has too few points"),
    "map moved": (below("PM", FRAME, "PlanePositionSequence", ImagePositionPatient=[-30, -32, 8]),
                  "PM: a frame does not lie on its source image"),
    "map of another frame of reference": (put("PM", FrameOfReferenceUID="2.25.4"), "PM: its frame of reference is"),
    "mark outside": (a_mark_outside, "GSPS: a region lies outside its image"),
    "mark of nobody": (below("GSPS", "GraphicAnnotationSequence", "GraphicObjectSequence", TrackingUID="2.25.77"),
                       "GSPS: the SR does not know the TrackingUID of a graphic"),
    "capture not burned in": (put("SC", BurnedInAnnotation="NO"), "SC: it does not say that annotation is burned"),
    "key image as of another class": (below("KEYS", *EVIDENCE, "ReferencedSOPSequence", ReferencedSOPClassUID="1.2.3"),
                                      "KEYS: it refers to an instance as of another SOP class"),
    "key image without evidence": (a_key_without_evidence, "KEYS: it refers to an instance that its list of evidence"),
    "type 1": (put("SEG", ContentLabel=""), "SEG: ContentLabel is missing"),
    "type 2": (put("PDF", AcquisitionDateTime=None), "PDF: AcquisitionDateTime is missing"),
    "type 1 below": (below("SEG", "SegmentSequence", SegmentAlgorithmType=None), "SEG: SegmentAlgorithmType is"),
    "kind of another SOP class": (lambda o: o.update(GSPS=o.pop("SC")), "GSPS: its SOP class is not that of its kind"),
    "number without value": (said("NUM", MeasuredValueSequence=DicomSequence([])), "SR: a content item of type NUM"),
    "item without name": (said("TEXT", ConceptNameCodeSequence=None), "SR: a content item of type TEXT has no concept"),
    "item without relationship": (no_relationship, "SR: a content item of type TEXT has no relationship"),
    "container": (said("CONTAINER", ContinuityOfContent=None), "SR: a container does not say whether"),
}  # fmt: skip
