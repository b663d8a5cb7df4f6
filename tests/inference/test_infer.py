import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.endpoint import Outputs
from inference.engine import Engine
from inference.errors import InvalidModelOutput
from inference.infer import run_model
from models.errors import LungsNotFound, ModelNotFound, WrongKindOfImage
from models.model import Arrays, Model, ModelInput, as_volume
from models.registry import get_model
from study.answer import Answer, Image
from study.radiograph import Radiograph
from study.volume import Volume


def volume(voxels: NDArray[np.int16] | None = None) -> Volume:
    chosen = np.zeros((40, 40, 40), np.int16) if voxels is None else voxels
    count = chosen.shape[0]
    return Volume(chosen, np.eye(4), tuple(f"1.2.{n}" for n in range(count)), (1,) * count, "1.2", "1.3")


NOTHING = Answer()


class TwoRuns:
    """A model with two batches and no findings, that keeps what it was given."""

    def __init__(self, says: Answer = NOTHING, uses: tuple[str, ...] = ()) -> None:
        outputs = {"scores": (1, 4), "centers": (1, -1, 3)}
        manifest = get_model("lung_nodule_ct").manifest
        self.manifest = dataclasses.replace(manifest, outputs=outputs, uses=uses)
        self.says = says
        self.given: dict[str, Any] = {}

    def preprocess(self, image: Image) -> ModelInput:
        batch = {"hounsfield": as_volume(image).voxels[None]}
        return ModelInput((batch, batch), "context")

    def postprocess(
        self, outputs: Arrays, context: object, image: Image, support: Mapping[str, Answer]
    ) -> Answer:
        self.given = {"outputs": outputs, "context": context, "support": support}
        return self.says


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


def test_the_result_says_which_engines_computed_it_and_what_they_noted() -> None:
    engines = [Engine("openvino", "cpu", "bf16"), Engine("onnxruntime", "cpu", "fp32")]

    class Stumbles:
        """The first run is the engine's, the second its fall-back's."""

        def run(self, model: Model, inputs: Mapping[str, NDArray[Any]]) -> Outputs:
            engine = engines.pop(0)
            return Outputs(good(), engine, "" if engines else "Computed by onnxruntime.")

    result = run_model(TwoRuns(Answer(notes=("of the model",))), volume(), Stumbles())
    assert [str(engine) for engine in result.engines] == ["openvino cpu bf16", "onnxruntime cpu fp32"]
    assert result.answer.notes == ("of the model", "Computed by onnxruntime.")
    assert run_model(TwoRuns(), volume(), Answers(**good())).engines == ()


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


def test_the_models_that_a_model_uses_run_first_and_are_named() -> None:
    lobes = TwoRuns(Answer(notes=("five lobes",)))
    model = TwoRuns(uses=("lobes", "not_installed"))

    def get(name: str) -> Model:
        if name != "lobes":
            raise ModelNotFound(name)
        return lobes

    result = run_model(model, volume(), Answers(**good()), get_model=get)
    assert {name: answer.notes for name, answer in model.given["support"].items()} == {
        "lobes": ("five lobes",)
    }
    assert [one.name for one in result.support] == [lobes.manifest.name]
    assert set(result.timing_s) == {"support", "preprocess", "infer", "postprocess"}


def test_a_supporting_model_that_cannot_judge_the_image_is_missing_and_one_that_breaks_is_an_error() -> None:
    class Unfit(TwoRuns):
        def preprocess(self, image: Image) -> ModelInput:
            raise LungsNotFound

    model = TwoRuns(uses=("lobes",))
    run_model(model, volume(), Answers(**good()), get_model=lambda name: Unfit())
    assert model.given["support"] == {}
    broken = good() | {"scores": np.full((1, 4), np.nan, np.float32)}
    with pytest.raises(InvalidModelOutput):
        run_model(model, volume(), Answers(**broken), get_model=lambda name: TwoRuns())


def test_a_radiograph_is_not_read_by_a_model_of_volumes() -> None:
    picture = Radiograph(np.zeros((8, 8), np.uint16), 12, None, "1.2.3", "1.2")
    with pytest.raises(WrongKindOfImage, match="not a radiograph"):
        run_model(get_model("lung_nodule_ct"), picture, Answers(**good()))
