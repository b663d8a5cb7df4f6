"""`radmeter models evaluate` on a small made-up folder in LUNA16's layout, once as .mhd and once as DICOM."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK
from typer.testing import CliRunner

from dicom_gateway.write_ct import write_ct_series
from models.evaluation.sample import Labels, Sample
from models.lung_nodule_ct.evaluate import sample_of
from models.lung_nodule_ct.phantom import Phantom, make_phantom
from models.manifest import Manifest
from models.model import Arrays, Model, ModelInput
from models.registry import FAMILIES, get_model
from server.annotated_scans import age_years
from server.cli import app
from server.evaluate_model import evaluate_model, write_operating_point
from study.answer import Answer, Classification, Image
from study.codes import LUNG_NODULE
from study.radiograph import Radiograph
from study.study import Patient

HEADER = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(9001, spacing_mm=(2.0, 1.0, 1.0), nodule_count=6)


def evaluate(data: Path, out: Path) -> dict[str, dict[str, object]]:
    result = CliRunner().invoke(
        app, ["models", "evaluate", "lung_nodule_ct", "--data", str(data), "--out", str(out)]
    )
    assert result.exit_code == 0, result.stderr
    assert all(Path(line).is_file() for line in result.stdout.split())
    record: dict[str, dict[str, object]] = json.loads(out.read_text())
    return record


def rows(phantom: Phantom, uid: str, shift: np.ndarray | float = 0.0) -> str:
    lesions = sample_of(phantom, "test").truth.lesions  # type: ignore[union-attr]
    return "".join(
        f"{uid},{','.join(str(v) for v in np.array(one.center_mm) + shift)},{one.diameter_mm}\n"
        for one in lesions
    )


def test_a_scan_as_mhd_is_measured_and_drawn(tmp_path: Path, phantom: Phantom) -> None:
    volume = sample_of(phantom, "test").image
    image = SimpleITK.GetImageFromArray(volume.voxels)  # type: ignore[union-attr]
    image.SetSpacing((1.0, 1.0, 2.0))
    image.SetOrigin(volume.affine_mm[:3, 3].tolist())  # type: ignore[union-attr]
    SimpleITK.WriteImage(image, str(tmp_path / "1.2.3.mhd"))
    (tmp_path / "annotations.csv").write_text(HEADER + rows(phantom, "1.2.3"))
    record = evaluate(tmp_path, tmp_path / "out" / "evaluation.json")
    found = record["data"]["detection"]
    assert isinstance(found, dict)
    assert found["scans"] == 1
    assert found["lesions"] == len(phantom.truth)
    assert found["at_operating_point"]["sensitivity"]["value"] >= 0.5
    assert found["center_error_mm"]["value"] < 1.5
    assert (tmp_path / "out" / "evaluation_froc.png").read_bytes().startswith(b"\x89PNG")


def test_a_scan_as_dicom_is_measured_with_the_facts_of_its_headers(tmp_path: Path, phantom: Phantom) -> None:
    import pydicom

    patient = Patient(patient_id="T", name="T", birth_date="19500101", sex="F")
    paths = write_ct_series(phantom.voxels, phantom.spacing_mm, tmp_path / "scan", patient=patient)
    first = pydicom.dcmread(paths[0], stop_before_pixels=True)
    uid, corner = first.SeriesInstanceUID, np.array([float(v) for v in first.ImagePositionPatient])
    ours = sample_of(phantom, "test").image.affine_mm[:3, 3]  # type: ignore[union-attr]
    (tmp_path / "annotations.csv").write_text(HEADER + rows(phantom, uid, corner - ours))
    record = evaluate(tmp_path, tmp_path / "evaluation.json")
    found = record["data"]["detection"]
    assert isinstance(found, dict)
    assert found["at_operating_point"]["sensitivity"]["value"] >= 0.5
    groups = {(one["fact"], one["group"]) for one in found["by_group_at_operating_point"]}
    assert ("sex", "F") in groups
    assert ("slice_spacing_mm", "over 1 to 2 mm") in groups


def test_a_folder_in_no_known_layout_says_how_to_make_data(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app,
        ["models", "evaluate", "lung_nodule_ct", "--data", str(tmp_path), "--out", str(tmp_path / "x.json")],
    )
    assert result.exit_code == 1
    assert "models.lung_nodule_ct.dataset" in result.stderr


def test_ages_are_whole_years() -> None:
    assert age_years("067Y", "", "") == 67
    assert age_years("018M", "", "") == 1
    assert age_years("", "19501127", "20261126") == 75
    assert age_years("", "19501126", "20261126") == 76
    assert age_years("old", "", "20261126") is None
    assert age_years("", "20270101", "20261126") is None


def test_the_operating_point_is_written_into_its_one_line(tmp_path: Path) -> None:
    path = tmp_path / "manifest.toml"
    path.write_text('name = "x"\noperating_threshold = 0.5\n[input]\n')
    write_operating_point(path, 0.25)
    assert path.read_text() == 'name = "x"\noperating_threshold = 0.25\n[input]\n'


class OneStatement:
    """A model that says of every image the same, at the threshold of its manifest."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest

    def preprocess(self, image: Image) -> ModelInput:
        return ModelInput(({},), None)

    def postprocess(
        self, outputs: Arrays, context: object, image: Image, support: Mapping[str, Answer]
    ) -> Answer:
        threshold = self.manifest.operating_threshold
        return Answer(classifications=(Classification("effusion", LUNG_NODULE, 0.3, threshold, "2.25.1"),))


class NoGraph:
    """An endpoint of a model without a graph."""

    def run(self, model: Model, inputs: Arrays) -> Arrays:
        return {}


def test_statements_are_judged_at_the_threshold_at_which_they_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = replace(
        get_model("lung_nodule_ct").manifest, family="lung_nodule_ct", operating_threshold=0.5, outputs={}
    )
    image = Radiograph(np.zeros((8, 8), np.uint16), 8, None, "1.2.3", "1.2.4")
    own = SimpleNamespace(
        WHAT="made",
        samples=lambda data: iter(Sample(image, Labels({"effusion": i % 2 == 0})) for i in range(20)),
    )
    monkeypatch.setattr("server.evaluate_model._own", lambda manifest: own)
    monkeypatch.setitem(FAMILIES, "lung_nodule_ct", OneStatement)
    out = tmp_path / "evaluation.json"
    evaluate_model(OneStatement(manifest), NoGraph(), tmp_path, out, get_model=get_model)
    found = json.loads(out.read_text())["test"]["classification"]["labels"]["effusion"]
    assert (found["threshold"], found["specificity"]["value"]) == (0.5, 1.0)
