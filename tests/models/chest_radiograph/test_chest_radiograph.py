"""The served model on synthetic patients that it was not trained on, and on the few real radiographs there are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dicom_gateway.decode import decode_radiograph
from inference.infer import run_model
from inference.onnxruntime_endpoint import OnnxRuntimeEndpoint
from models.chest_radiograph.errors import RadiographTooSmall, RadiographWithoutContrast
from models.chest_radiograph.phantom import Patient, make_patient, take_frontal
from models.chest_radiograph.phantom_body import HELD_OUT
from models.chest_radiograph.phantom_others import MAKERS
from models.chest_radiograph.postprocess import FINDINGS
from models.errors import UnfitInput, WrongKindOfImage
from models.registry import get_model
from study.answer import Classification
from study.radiograph import Radiograph
from tests.ct_files import only_series
from tests.report_builders import lung_volume

MODEL = get_model("chest_radiograph")
ENDPOINT = OnnxRuntimeEndpoint(1)
# Findings that even the held-out generator makes large and plain.
PLAIN = ("pleural_effusion", "cardiomegaly", "pneumothorax")


def radiograph(pixels: np.ndarray) -> Radiograph:
    unit = (pixels - pixels.min()) / (pixels.max() - pixels.min())
    return Radiograph(np.rint(unit * 4095).astype(np.uint16), 12, None, "1.2.3.1", "1.2.3")


def said(image: Radiograph) -> dict[str, Classification]:
    return {one.label: one for one in run_model(MODEL, image, ENDPOINT).answer.classifications}


@pytest.fixture(scope="module")
def patients() -> list[Patient]:
    return [make_patient(np.random.default_rng(seed), HELD_OUT) for seed in (900_001, 900_002, 900_003)]


class TestFindings:
    @pytest.mark.parametrize("name", PLAIN)
    def test_a_plain_finding_is_likelier_than_in_the_same_patient_without_it(
        self, patients: list[Patient], name: str
    ) -> None:
        higher, on_it = 0, 0
        for number, patient in enumerate(patients):
            without = take_frontal(np.random.default_rng(number), patient, frozenset())
            ill = take_frontal(np.random.default_rng(number), patient, frozenset({name}))
            assert ill.masks is not None
            statement = said(radiograph(ill.pixels))[name]
            higher += statement.probability > said(radiograph(without.pixels))[name].probability
            assert statement.region_px is not None
            left, top, right, bottom = (int(edge) for edge in statement.region_px)
            on_it += bool(ill.masks[FINDINGS.index(name), top:bottom, left:right].any())
        assert higher >= 2
        assert on_it >= 2

    def test_the_same_picture_in_another_depth_and_curve_gives_the_same_statements(
        self, patients: list[Patient]
    ) -> None:
        image = radiograph(take_frontal(np.random.default_rng(1), patients[0], frozenset()).pixels)
        curved = Radiograph(
            np.rint((image.pixels / 4095.0) ** 0.6 * 65535).astype(np.uint16), 16, None, "1.2.3.1", "1.2.3"
        )
        plain, other = said(image), said(curved)
        assert {label: one.is_positive for label, one in plain.items()} == {
            label: one.is_positive for label, one in other.items()
        }
        assert max(abs(plain[label].probability - other[label].probability) for label in FINDINGS) < 0.05


class TestRefusals:
    @pytest.mark.parametrize("kind", MAKERS)
    def test_most_pictures_of_each_other_kind_are_refused(self, patients: list[Patient], kind: str) -> None:
        refused = 0
        for number in range(6):
            picture = MAKERS[kind](np.random.default_rng(number), patients[number % 3])
            try:
                said(radiograph(picture.pixels))
            except UnfitInput:
                refused += 1
        assert refused >= 4

    def test_small_and_blank_pictures_and_volumes_are_refused(self) -> None:
        with pytest.raises(RadiographTooSmall, match="211 x 169"):
            MODEL.preprocess(Radiograph(np.zeros((169, 211), np.uint16), 8, None, "1.2", "1.2"))
        with pytest.raises(RadiographWithoutContrast):
            MODEL.preprocess(Radiograph(np.full((500, 500), 7, np.uint16), 12, None, "1.2", "1.2"))
        with pytest.raises(WrongKindOfImage):
            MODEL.preprocess(lung_volume())


class TestRealImages:
    def decoded(self, shared_data: Path, folder: Path, name: str) -> Radiograph:
        series = only_series([shared_data / "cxr" / name])
        return decode_radiograph(series, series.instances[0].sop_instance_uid, Path("/"), folder)

    @pytest.mark.parametrize("name", ["gdcm-CR-MONO1-10-chest.dcm", "RG1_J2KI"])
    def test_real_frontal_chests_are_judged(self, shared_data: Path, tmp_path: Path, name: str) -> None:
        assert len(said(self.decoded(shared_data, tmp_path, name))) == len(FINDINGS)

    def test_the_dog_is_refused_small_as_it_is_and_enlarged(self, shared_data: Path, tmp_path: Path) -> None:
        dog = self.decoded(shared_data, tmp_path, "dx_image.dcm")
        with pytest.raises(RadiographTooSmall):
            said(dog)
        large = Radiograph(np.repeat(np.repeat(dog.pixels, 4, 0), 4, 1), dog.bits, None, "1.2.3.1", "1.2.3")
        with pytest.raises(UnfitInput):
            said(large)


def test_the_figures_are_those_of_the_weights_that_run_and_calibration_holds_on_validation() -> None:
    manifest = MODEL.manifest
    figures = json.loads((manifest.folder / manifest.evaluation_file).read_text("utf-8"))
    assert figures["model"]["weights_sha256"] == manifest.weights_sha256
    for label in FINDINGS:
        found = figures["validation"]["classification"]["labels"][label]
        assert found["expected_calibration_error"] < 0.1, label
        assert found["specificity"]["value"] >= 0.93, label
        assert {"test", "validation_unfit", "test_unfit"} <= set(figures)
