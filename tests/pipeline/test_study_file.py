"""What one step leaves for the next is what the next one reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.study_file import load_findings, load_study, save_findings, save_study, write_durably
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
    save_findings(tmp_path, "lung_nodule_ct", findings)
    loaded = load_findings(tmp_path, "lung_nodule_ct")
    assert [one.as_json() for one in loaded] == [one.as_json() for one in findings]
    for before, after in zip(findings, loaded, strict=True):
        assert before.segment is not None
        assert after.segment is not None
        assert after.segment.origin == before.segment.origin
        assert np.array_equal(after.segment.mask, before.segment.mask)


def test_no_findings_are_findings_too(tmp_path: Path) -> None:
    save_findings(tmp_path, "lung_nodule_ct", ())
    assert load_findings(tmp_path, "lung_nodule_ct") == ()


def test_products_lie_side_by_side(tmp_path: Path) -> None:
    findings = two_findings(lung_volume())
    save_findings(tmp_path, "a", findings)
    save_findings(tmp_path, "b", findings[:1])
    assert len(load_findings(tmp_path, "a")) == 2
    assert len(load_findings(tmp_path, "b")) == 1


def test_a_write_that_fails_leaves_the_former_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "study.json"
    write_durably(path, b"first")

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        write_durably(path, b"second, longer")
    assert path.read_bytes() == b"first"
