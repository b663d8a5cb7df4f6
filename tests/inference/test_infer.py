import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.errors import InvalidModelOutput
from inference.infer import run_model
from models.errors import LungsNotFound
from models.model import Model, ModelInput
from models.registry import get_model
from study.findings import Finding
from study.volume import Volume


def volume(voxels: NDArray[np.int16] | None = None) -> Volume:
    chosen = np.zeros((40, 40, 40), np.int16) if voxels is None else voxels
    count = chosen.shape[0]
    return Volume(chosen, np.eye(4), tuple(f"1.2.{n}" for n in range(count)), (1,) * count, "1.2", "1.3")


class TwoRuns:
    """A model with two batches and no findings, that keeps what it was given."""

    def __init__(self) -> None:
        outputs = {"scores": (1, 4), "centers": (1, -1, 3)}
        self.manifest = dataclasses.replace(get_model("lung_nodule_ct").manifest, outputs=outputs)
        self.given: dict[str, Any] = {}

    def preprocess(self, volume: Volume) -> ModelInput:
        batch = {"hounsfield": volume.voxels[None]}
        return ModelInput((batch, batch), "context")

    def postprocess(
        self, outputs: Mapping[str, NDArray[Any]], context: object, volume: Volume
    ) -> tuple[Finding, ...]:
        self.given = {"outputs": outputs, "context": context}
        return ()


class Answers:
    """An endpoint that gives a prepared answer."""

    def __init__(self, **outputs: NDArray[Any]) -> None:
        self.outputs = outputs

    def run(self, model: Model, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return dict(self.outputs)


def good() -> dict[str, NDArray[Any]]:
    return {"scores": np.full((1, 4), 0.5, np.float32), "centers": np.zeros((1, 7, 3), np.float32)}


def test_outputs_of_all_runs_reach_the_model_together_with_its_context() -> None:
    model = TwoRuns()
    result = run_model(model, volume(), Answers(**good()))
    assert result.findings == ()
    assert model.given["outputs"]["scores"].shape == (2, 4)
    assert model.given["context"] == "context"
    assert set(result.timing_s) == {"preprocess", "infer", "postprocess"}
    assert result.model.weights_sha256 == model.manifest.weights_sha256
    assert result.model.clearance_status.startswith("Not cleared")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_refused(bad: float) -> None:
    outputs = good()
    outputs["centers"][0, 3, 1] = bad
    with pytest.raises(InvalidModelOutput, match="centers"):
        run_model(TwoRuns(), volume(), Answers(**outputs))


@pytest.mark.parametrize("shape", [(1, 5), (2, 4), (4,), (1, 4, 1)])
def test_an_output_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    outputs = good() | {"scores": np.zeros(shape, np.float32)}
    with pytest.raises(InvalidModelOutput, match="scores has shape"):
        run_model(TwoRuns(), volume(), Answers(**outputs))


def test_a_missing_output_is_refused() -> None:
    outputs = good()
    del outputs["centers"]
    with pytest.raises(InvalidModelOutput, match="no output called 'centers'"):
        run_model(TwoRuns(), volume(), Answers(**outputs))


def test_a_volume_without_lungs_is_an_error_and_never_an_empty_result() -> None:
    with pytest.raises(LungsNotFound):
        run_model(get_model("lung_nodule_ct"), volume(), Answers(**good()))
