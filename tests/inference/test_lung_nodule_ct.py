"""The committed model on whole volumes, as it is served."""

import json
from pathlib import Path

import numpy as np
import pytest

from dicom_gateway.decode import decode_series
from dicom_gateway.inspect import inspect_study
from inference.infer import run_model
from inference.onnxruntime_endpoint import OnnxRuntimeEndpoint
from models.lung_nodule_ct.evaluate import volume_of
from models.lung_nodule_ct.phantom import Phantom, make_phantom
from models.lung_nodule_ct.postprocess import detections
from models.lung_nodule_ct.preprocess import LungBox, preprocess
from models.registry import get_model


@pytest.fixture(scope="module")
def endpoint() -> OnnxRuntimeEndpoint:
    return OnnxRuntimeEndpoint()


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(9001, spacing_mm=(1.5, 1.0, 1.0), nodule_count=8)


def test_most_nodules_of_a_phantom_are_found_where_they_are(
    phantom: Phantom, endpoint: OnnxRuntimeEndpoint
) -> None:
    volume = volume_of(phantom)
    result = run_model(get_model("lung_nodule_ct"), volume, endpoint)
    found = 0
    for nodule in phantom.truth:
        center = volume.to_lps_mm(np.array(nodule.center_index))
        distances = [float(np.linalg.norm(center - f.center_lps_mm)) for f in result.findings]
        if distances and min(distances) <= nodule.diameter_mm / 2:
            found += 1
            finding = result.findings[int(np.argmin(distances))]
            assert finding.segment is not None
            assert finding.mean_diameter_mm == pytest.approx(nodule.diameter_mm, rel=0.6)
    assert found >= 6
    assert len(result.findings) <= found + 4
    assert [f.score for f in result.findings] == sorted((f.score for f in result.findings), reverse=True)


def test_slabs_give_the_same_nodules_as_one_pass(phantom: Phantom, endpoint: OnnxRuntimeEndpoint) -> None:
    model, volume = get_model("lung_nodule_ct"), volume_of(phantom)
    answers = []
    for limit in (40_000_000, 8_000_000):
        prepared = preprocess(volume, (1.0, 1.0, 1.0), limit)
        runs = [endpoint.run(model, batch) for batch in prepared.batches]
        outputs = {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}
        assert isinstance(prepared.context, LungBox)
        answers.append((len(runs), detections(outputs, prepared.context, volume, 0.3)))
    (one, whole), (several, parts) = answers
    assert one == 1
    assert several > 1
    assert len(whole) == len(parts)
    for a in whole:  # two of nearly the same score may have changed places
        b = min(parts, key=lambda one: float(np.linalg.norm(np.subtract(one.center_index, a.center_index))))
        assert a.center_index == pytest.approx(b.center_index, abs=0.5)
        assert a.score == pytest.approx(b.score, abs=0.1)


def test_the_nodule_of_a_real_patient_is_among_the_three_highest_findings(
    shared_data: Path, tmp_path: Path, endpoint: OnnxRuntimeEndpoint
) -> None:
    folder = shared_data / "ct_chest_lidc0314_1mm"
    files = [(path.name, path) for path in sorted((folder / "dicom").iterdir())]
    series = inspect_study(files).study.series[0]
    volume = decode_series(series, folder / "dicom", tmp_path)
    result = run_model(get_model("lung_nodule_ct"), volume, endpoint)
    truth = json.loads((folder / "ground_truth.json").read_text())["nodules"][0]
    distances = [
        float(np.linalg.norm(np.subtract(finding.center_lps_mm, truth["center_lps_mm"])))
        for finding in result.findings[:3]
    ]
    assert min(distances, default=np.inf) <= truth["diameter_mm"] / 2
    nodule = result.findings[int(np.argmin(distances))]
    assert nodule.mean_diameter_mm == pytest.approx(truth["diameter_mm"], rel=0.25)
