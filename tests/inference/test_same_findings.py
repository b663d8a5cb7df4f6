"""All engines find the same, within what is stated here and in docs/inference.md."""

from pathlib import Path

import pytest

from dicom_gateway.decode import decode_series
from dicom_gateway.inspect import inspect_study
from inference.agreement import Agreement, agreement
from inference.choose import EngineChoice, make_endpoint
from inference.infer import InferenceResult, run_model
from models.lung_nodule_ct.evaluate import volume_of
from models.lung_nodule_ct.phantom import make_phantom
from models.model import Model
from models.registry import get_model
from study.volume import Volume

# Precision → largest difference of a score, of a centre and of a diameter in mm.
TOLERANCE = {"fp32": (0.001, 0.02, 0.2), "bf16": (0.04, 0.25, 1.0), "int8": (0.15, 1.0, 3.0)}


@pytest.fixture(scope="module")
def model() -> Model:
    return get_model("lung_nodule_ct")


def run(model: Model, volume: Volume, engine: str, precision: str = "fp32") -> InferenceResult:
    return run_model(model, volume, make_endpoint(EngineChoice(engine, precision=precision)))


def check(model: Model, volume: Volume, reference: InferenceResult) -> dict[str, Agreement]:
    pytest.importorskip("openvino")
    assert reference.findings
    seen = {}
    for precision in ["fp32", "bf16", *(["int8"] if "int8" in model.manifest.precisions else [])]:
        result = run(model, volume, "openvino", precision)
        assert [str(engine) for engine in result.engines] == [f"openvino cpu {precision}"]
        score, center_mm, diameter_mm = TOLERANCE[precision]
        seen[precision] = same = agreement(reference.findings, result.findings)
        assert same.score_max <= score, precision
        assert same.center_mm_max <= center_mm, precision
        assert same.diameter_mm_max <= diameter_mm, precision
        # What only one of them reports lies at the threshold, where the difference of scores decides.
        threshold = model.manifest.operating_threshold
        assert all(abs(only - threshold) <= score for only in same.unmatched), precision
        assert same.matched
    return seen


@pytest.fixture(scope="module")
def phantom() -> Volume:
    return volume_of(make_phantom(9002, spacing_mm=(2.0, 1.5, 1.5), nodule_count=8))


@pytest.fixture(scope="module")
def found(model: Model, phantom: Volume) -> InferenceResult:
    return run(model, phantom, "onnxruntime")


def test_a_phantom_gives_the_same_findings_on_every_engine(
    model: Model, phantom: Volume, found: InferenceResult
) -> None:
    assert check(model, phantom, found)["fp32"].matched >= 4


def test_a_real_chest_ct_gives_the_same_findings_on_every_engine(
    model: Model, shared_data: Path, tmp_path: Path
) -> None:
    folder = shared_data / "ct_chest_lidc0314_1mm" / "dicom"
    series = inspect_study([(path.name, path) for path in sorted(folder.iterdir())]).study.series[0]
    volume = decode_series(series, folder, tmp_path)
    check(model, volume, run(model, volume, "onnxruntime"))


def test_what_only_one_engine_finds_is_told(found: InferenceResult) -> None:
    findings = found.findings
    assert agreement(findings, findings) == Agreement(len(findings), 0.0, 0.0, 0.0, ())
    one_less = agreement(findings, findings[1:])
    assert one_less.unmatched == (findings[0].score,)
    assert one_less.matched == len(findings) - 1
