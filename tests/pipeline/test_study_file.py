"""What one step leaves for the next is what the next one reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.study_file import load_answer, load_study, save_answer, save_study, write_durably
from study.answer import Answer, Classification, Structure
from study.codes import LUNG
from study.findings import Segment
from study.nodule import Comparison, NoduleFeatures, NoduleKind
from study.study import Instance, Patient, Series, Study
from tests.report_builders import lung_volume, two_findings


def test_a_study_survives_with_every_field(tmp_path: Path) -> None:
    full = Instance(
        sop_instance_uid="1.2.3.4",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        location="ab/cd.dcm",
        image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
        instance_number=-3,
        rows=512,
        columns=256,
        number_of_frames=1,
        image_position_mm=(-1.5, 2.25, 1e-7),
        image_orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        pixel_spacing_mm=(0.7, 0.8),
        slice_thickness_mm=1.25,
        acquisition_number=2,
    )
    bare = Instance("1.2.3.5", "1.2", "1.2", "x")
    study = Study(
        "1.2.3",
        (
            Series("1.2.3.1", "CT", (full, bare), description="Thorax “1.0”", series_number=4),
            Series("1.2.3.2", "SR", ()),
        ),
        Patient("P-1", "Wang^XiaoDong=王^小东", "19510203", "F", "061Y"),
        description="胸部 CT\n\\",
    )
    save_study(tmp_path / "new" / "folder", study)
    assert load_study(tmp_path / "new" / "folder") == study


def test_findings_survive_with_their_segments(tmp_path: Path) -> None:
    findings = two_findings(lung_volume())
    save_answer(tmp_path, "lung_nodule_ct", Answer(findings))
    loaded = load_answer(tmp_path, "lung_nodule_ct").findings
    assert [one.as_json() for one in loaded] == [one.as_json() for one in findings]
    for before, after in zip(findings, loaded, strict=True):
        assert before.segment is not None
        assert after.segment is not None
        assert after.segment.origin == before.segment.origin
        assert np.array_equal(after.segment.mask, before.segment.mask)


def test_no_findings_are_findings_too(tmp_path: Path) -> None:
    save_answer(tmp_path, "lung_nodule_ct", Answer())
    assert load_answer(tmp_path, "lung_nodule_ct") == Answer()


def test_what_is_known_of_a_nodule_survives(tmp_path: Path) -> None:
    features = NoduleFeatures(
        NoduleKind.PART_SOLID, solid_part_mm=3.5, lobe="left upper lobe", pleura_distance_mm=0.0
    )
    before = Comparison("matched", "20240102", 181, 5.5, 87.0, "2.25.1", 301.5, (220.0, 480.0))
    finding = replace(two_findings(lung_volume())[0], nodule=features, comparison=before)
    save_answer(tmp_path, "lung_nodule_ct", Answer((finding,)))
    loaded = load_answer(tmp_path, "lung_nodule_ct").findings[0]
    assert (loaded.nodule, loaded.comparison) == (features, before)


def test_classifications_structures_and_notes_survive(tmp_path: Path) -> None:
    saliency = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    mask = np.zeros((3, 5, 7), np.bool_)
    mask[1, 2:4, 3:] = True
    answer = Answer(
        classifications=(
            Classification("Effusion", LUNG, 0.7, 0.4, "2.25.1", saliency, (10.0, 20.0, 30.5, 40.0)),
            Classification("Mass", LUNG, 0.1, 0.4, "2.25.2"),
        ),
        structures=(Structure("Left lung", LUNG, Segment(mask, (4, 5, 6)), 2100.5, -790.0, "2.25.3"),),
        notes=("The lungs are cut at the top.",),
    )
    save_answer(tmp_path, "chest", answer)
    loaded = load_answer(tmp_path, "chest")
    assert loaded.as_json() == answer.as_json()
    assert [one.is_positive for one in loaded.classifications] == [True, False]
    assert loaded.classifications[0].saliency is not None
    assert np.array_equal(loaded.classifications[0].saliency, saliency)
    assert loaded.classifications[1].saliency is None
    assert np.array_equal(loaded.structures[0].segment.mask, mask)
    assert loaded.structures[0].segment.origin == (4, 5, 6)


def test_products_lie_side_by_side(tmp_path: Path) -> None:
    findings = two_findings(lung_volume())
    save_answer(tmp_path, "a", Answer(findings))
    save_answer(tmp_path, "b", Answer(findings[:1]))
    assert len(load_answer(tmp_path, "a").findings) == 2
    assert len(load_answer(tmp_path, "b").findings) == 1


def test_a_write_that_fails_leaves_the_former_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "study.json"
    write_durably(path, b"first")

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        write_durably(path, b"second, longer")
    assert path.read_bytes() == b"first"
