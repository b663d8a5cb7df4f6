"""`radmeter analyze`: one study without a server; real series, one to be read, the others to be refused."""

from __future__ import annotations

import io
import json
import math
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pypdf
import pytest
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from typer.testing import CliRunner

from dicom_gateway.encode_pdf import encode_pdf
from dicom_gateway.write_ct import write_ct_series
from models.registry import get_model
from server.analyze import clearance_of
from server.analyze_summary import show_summary
from server.cli import app
from tests.ct_files import ramp, write
from tests.small_chest import SPACING_MM, small_chest

# Architecture page, “Interfaces that stay stable”.
RESULT_KEYS = {
    "study_instance_uid", "series_instance_uid", "status", "reason", "model", "findings", "timing_s",
    "classifications", "structures", "notes", "engines", "prior",
}  # fmt: skip
FINDING_KEYS = {
    "id", "label", "score", "center_lps_mm", "long_axis_mm", "short_axis_mm", "mean_diameter_mm", "volume_mm3",
    "slice_sop_instance_uid", "bbox_lps_mm",
}  # fmt: skip
# Without the font that the library would have a browser fetch.
_SVG = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace(
    "font-family: Fira Code", "font-family: DejaVu Sans Mono"
)
PICTURES = Path(__file__).resolve().parents[2] / "test-artifacts/server"
TIMING_KEYS = {"decode", "preprocess", "infer", "postprocess", "encode", "total"}


@pytest.fixture(autouse=True)
def _no_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that a developer has added to an installation of his own do not count here."""
    monkeypatch.setenv("RADMETER_DATA", str(tmp_path / "no installation"))


def analyze(source: Path, out: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    """(exit code, result.json, stderr)."""
    done = CliRunner().invoke(app, ["analyze", str(source), "--out", str(out), *options])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, json.loads((out / "result.json").read_text("utf-8")), done.stderr


def text_of(pdf: Path) -> str:
    pages = (page.extract_text() for page in pypdf.PdfReader(pdf).pages)
    return " ".join(" ".join(pages).split())


class TestTheRealNodule:
    """LIDC-IDRI-0314: one nodule of 15.5 mm, read by four radiologists."""

    @pytest.fixture(scope="class")
    def done(
        self, shared_data: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> tuple[int, dict[str, Any], Path]:
        out = tmp_path_factory.mktemp("analyze") / "out"
        code, result, _ = analyze(shared_data / "ct_chest_lidc0314_1mm/dicom", out)
        return code, result, out

    def test_it_is_completed_with_the_promised_keys(self, done: tuple[int, dict[str, Any], Path]) -> None:
        code, result, _ = done
        assert (code, result["status"], result["reason"]) == (0, "completed", None)
        assert set(result) == RESULT_KEYS
        manifest = get_model("lung_nodule_ct").manifest
        assert result["model"] == {
            "name": manifest.name,
            "version": manifest.version,
            "weights_sha256": manifest.weights_sha256,
        }
        assert set(result["timing_s"]) >= TIMING_KEYS
        assert all(seconds >= 0 for seconds in result["timing_s"].values())
        for finding in result["findings"]:
            assert set(finding) >= FINDING_KEYS
            numbers = [finding["score"], *finding["center_lps_mm"], finding["volume_mm3"]]
            assert all(math.isfinite(number) for number in numbers)

    def test_the_nodule_is_among_the_three_highest_findings(
        self, done: tuple[int, dict[str, Any], Path], shared_data: Path
    ) -> None:
        _, result, _ = done
        version = tuple(int(part) for part in result["model"]["version"].split("."))
        assert version >= (0, 1), "the trained model is not there yet"
        truth = json.loads((shared_data / "ct_chest_lidc0314_1mm/ground_truth.json").read_text())["nodules"][
            0
        ]
        found = [
            finding
            for finding in result["findings"][:3]
            if np.linalg.norm(np.subtract(finding["center_lps_mm"], truth["center_lps_mm"]))
            <= truth["diameter_mm"] / 2
        ]
        assert len(found) == 1
        assert found[0]["mean_diameter_mm"] == pytest.approx(truth["diameter_mm"], rel=0.25)
        assert [one["score"] for one in result["findings"]] == sorted(
            (one["score"] for one in result["findings"]), reverse=True
        )

    def test_objects_report_and_key_images_are_written(self, done: tuple[int, dict[str, Any], Path]) -> None:
        _, result, out = done
        objects = {kind: pydicom.dcmread(out / f"lung_nodule_ct.{kind}.dcm") for kind in ("sr", "seg", "pdf")}
        assert [one.Modality for one in objects.values()] == ["SR", "SEG", "DOC"]
        assert {one.StudyInstanceUID for one in objects.values()} == {result["study_instance_uid"]}
        assert len(list(out.glob("*.png"))) >= len(result["findings"])
        text = text_of(out / "report.pdf")
        assert "not reviewed" in text
        assert result["model"]["version"] in text

    def test_the_summary_names_each_finding_the_seconds_and_what_was_written(
        self, done: tuple[int, dict[str, Any], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, result, out = done
        monkeypatch.chdir(out.parent)
        console = Console(record=True, width=110, file=io.StringIO())
        show_summary(result, Path(out.name), clearance_of("lung_nodule_ct"), console)
        picture = console.export_svg(title="radmeter analyze", code_format=_SVG, clear=False)
        text = console.export_text()
        for finding in result["findings"]:
            line = next(line for line in text.splitlines() if line.startswith(f" {finding['id']} "))
            assert f"{finding['mean_diameter_mm']:.1f}" in line
            assert finding["nodule"]["lobe"] in line
        assert f"{result['timing_s']['total']:.1f} s with all objects" in text
        assert "Written to out: result.json, report.pdf" in text
        assert "SEG, SR" in text
        assert "not reviewed by a person. Not cleared for clinical use" in text
        if os.environ.get("PICTURES"):
            PICTURES.mkdir(parents=True, exist_ok=True)
            (PICTURES / "analyze.svg").write_text(picture, "utf-8")

    def test_the_same_study_gives_the_same_findings_again(
        self, done: tuple[int, dict[str, Any], Path], shared_data: Path, tmp_path: Path
    ) -> None:
        _, first, _ = done
        _, second, _ = analyze(shared_data / "ct_chest_lidc0314_1mm/dicom", tmp_path / "again")
        assert second["findings"] == first["findings"]


REFUSED = {
    "MR": ("mr_series", "WRONG_MODALITY", "the modality is MR, not CT"),
    "slices of 8 mm": ("ct_chest_lungdx_A0002/dicom", "SLICES_TOO_THICK", "8 mm are thicker than the 5 mm"),
    "coronal": ("ct_not_axial/A002304_coronal/19001231-076.dcm", "DERIVED_IMAGES", "of type secondary"),
    "brain, tilted gantry": ("ct_geometry/gantry_tilt_philips", "WRONG_BODY_PART", "brain, not chest"),
    "four slices": ("ct_geometry/gantry_tilt_siemens_d2n", "TOO_FEW_SLICES", "4 slices are fewer"),
    "radiograph": ("cxr/gdcm-CR-MONO1-10-chest.dcm", "WRONG_MODALITY", "the modality is CR, not CT"),
}


class TestRefusals:
    @pytest.mark.parametrize("case", REFUSED)
    def test_an_unfit_study_is_rejected_with_code_sentence_and_report(
        self, shared_data: Path, tmp_path: Path, case: str
    ) -> None:
        source, code, words = REFUSED[case]
        exit_code, result, stderr = analyze(shared_data / source, tmp_path / "out")
        self.require_refusal(exit_code, result, stderr, tmp_path / "out", code, words)

    def test_an_abdomen_is_rejected(self, shared_data: Path, tmp_path: Path) -> None:
        """Ten slices whose UIDs were emptied: they are given some, so that the rest can be judged."""
        (tmp_path / "in").mkdir()
        for path in sorted((shared_data / "ct_negative_abdomen_siemens/dicom").glob("*")):
            data_set = pydicom.dcmread(path, force=True)
            if "PixelData" in data_set:
                data_set.StudyInstanceUID, data_set.SeriesInstanceUID = "1.2.3", "1.2.3.4"
                data_set.SOPClassUID = data_set.file_meta.MediaStorageSOPClassUID
                data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID
                data_set.save_as(tmp_path / "in" / path.name)
        exit_code, result, stderr = analyze(tmp_path / "in", tmp_path / "out")
        words = "partialbody, not chest"
        self.require_refusal(exit_code, result, stderr, tmp_path / "out", "WRONG_BODY_PART", words)

    def test_a_chest_without_lungs_is_rejected_and_not_empty_of_findings(self, tmp_path: Path) -> None:
        write(tmp_path / "in", ramp((30, 32, 32)), spacing_mm=(2.5, 8.0, 8.0))
        exit_code, result, stderr = analyze(tmp_path / "in", tmp_path / "out")
        words = "no lungs were found"
        self.require_refusal(exit_code, result, stderr, tmp_path / "out", "LUNGS_NOT_FOUND", words)

    def test_coronal_slices_are_rejected_whatever_they_call_themselves(self, tmp_path: Path) -> None:
        write(tmp_path / "in", ramp((30, 8, 8)), orientation=(1.0, 0.0, 0.0, 0.0, 0.0, -1.0))
        exit_code, result, stderr = analyze(tmp_path / "in", tmp_path / "out")
        self.require_refusal(exit_code, result, stderr, tmp_path / "out", "NOT_AXIAL", "not axial")

    def test_a_missing_slice_is_rejected_by_name(self, tmp_path: Path) -> None:
        paths = write(tmp_path / "in", ramp((31, 8, 8)))
        paths[15].unlink()
        exit_code, result, stderr = analyze(tmp_path / "in", tmp_path / "out")
        self.require_refusal(exit_code, result, stderr, tmp_path / "out", "MISSING_SLICES", "missing")

    def test_the_reason_is_told_in_chinese_pages_too(self, shared_data: Path, tmp_path: Path) -> None:
        analyze(shared_data / "mr_series", tmp_path / "out", "--language", "zh")
        assert any("\u4e00" <= letter <= "\u9fff" for letter in text_of(tmp_path / "out/report.pdf"))

    def test_two_studies_in_one_folder_are_rejected(self, shared_data: Path, tmp_path: Path) -> None:
        exit_code, result, _ = analyze(shared_data / "ct_priors", tmp_path / "out")
        assert (exit_code, result["status"]) == (3, "rejected")
        assert "2 studies" in result["reason"]["text"]

    @staticmethod
    def require_refusal(
        exit_code: int, result: dict[str, Any], stderr: str, out: Path, code: str, words: str
    ) -> None:
        assert (exit_code, result["status"], result["findings"]) == (3, "rejected", [])
        assert result["reason"]["code"] == code
        assert words in result["reason"]["text"]
        assert code in stderr
        text = text_of(out / "report.pdf")
        assert words in text
        assert list(out.glob("*.dcm")) == []


def test_old_results_in_the_folder_do_not_pass_for_new_ones(shared_data: Path, tmp_path: Path) -> None:
    """A refused study must not leave the findings of the one before beside its refusal."""
    out = tmp_path / "out"
    out.mkdir()
    source = shared_data / "mr_series"
    for name in (
        "lung_nodule_ct.sr.dcm",
        "lung_nodule_ct.gsps.dcm",
        "lung_nodule_ct.sc-2.dcm",
        "finding-1-plain.png",
    ):
        shutil.copy(next(source.iterdir()), out / name)
    analyze(source, out)
    assert sorted(path.name for path in out.iterdir()) == ["report.pdf", "result.json"]


def test_objects_that_break_a_rule_of_the_gate_are_not_written(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mixed_up(*arguments: Any) -> pydicom.Dataset:
        document = encode_pdf(*arguments)
        document.PatientID = "P-of-another"
        return document

    monkeypatch.setattr("pipeline.result_set.encode_pdf", mixed_up)
    out = tmp_path / "out"
    source = shared_data / "cxr/gdcm-CR-MONO1-10-chest.dcm"
    exit_code, result, stderr = analyze(source, out, "--model", "chest_radiograph")
    assert (exit_code, result["status"], result["findings"]) == (4, "failed", [])
    assert "RESULT_NOT_CONFORMANT: The result was not sent" in stderr
    assert "PDF: PatientID is not that of the source" in stderr
    assert [path.name for path in out.iterdir()] == ["result.json"]


def test_a_patient_of_unknown_age_is_noted_in_the_record_and_in_the_summary(tmp_path: Path) -> None:
    write_ct_series(small_chest().voxels, SPACING_MM, tmp_path / "in")
    done = CliRunner().invoke(app, ["analyze", str(tmp_path / "in"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.stderr
    notes = json.loads((tmp_path / "out/result.json").read_text("utf-8"))["notes"]
    assert "age" in notes[0], notes
    assert " ".join(notes[0].split()[:4]) in " ".join(done.stdout.split())
