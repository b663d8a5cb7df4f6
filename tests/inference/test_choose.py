from pathlib import Path

import numpy as np
import pytest

from inference import choose
from inference.choose import POSSIBLE, EngineChoice, make_endpoint
from inference.engine import Engine
from inference.errors import EngineNotPossible
from inference.onnxruntime_endpoint import CPU, CUDA, TENSORRT, execution_providers
from models.registry import get_model

SMALL = {"hounsfield": np.full((1, 48, 48, 48), -850, np.int16)}


@pytest.mark.parametrize(
    ("engine", "precision"), [("onnxruntime", "fp32"), ("openvino", "fp32"), ("openvino", "bf16")]
)
def test_each_engine_runs_the_model_and_says_that_it_did(engine: str, precision: str) -> None:
    pytest.importorskip(engine)
    endpoint = make_endpoint(EngineChoice(engine, precision=precision, threads=1))
    endpoint.warm(get_model("lung_nodule_ct"))
    outputs = endpoint.run(get_model("lung_nodule_ct"), SMALL)
    assert outputs.engine == Engine(engine, "cpu", precision)
    assert str(outputs.engine) == f"{engine} cpu {precision}"


def test_every_engine_computes_in_fp32_somewhere() -> None:
    assert all(any("fp32" in precisions for precisions in of.values()) for of in POSSIBLE.values())


def test_an_engine_that_is_not_installed_says_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EngineNotPossible, match="comes with the extra `openvino`"):
        make_endpoint(EngineChoice("openvino"))


class TestTensorRT:
    """What can be known without a GPU: the options that the runtime is given."""

    def test_engines_and_timings_are_kept_in_the_cache_directory(self, tmp_path: Path) -> None:
        folder = tmp_path / "engines"
        (name, options), *others = execution_providers(TENSORRT, "fp16", folder)
        assert name == TENSORRT
        assert options == {
            "trt_fp16_enable": True,
            "trt_engine_cache_enable": True,
            "trt_engine_cache_path": str(folder),
            "trt_timing_cache_enable": True,
            "trt_timing_cache_path": str(folder),
        }
        assert folder.stat().st_mode & 0o077 == 0
        assert [other[0] if isinstance(other, tuple) else other for other in others] == [CUDA, CPU]

    def test_fp32_stays_fp32(self) -> None:
        assert execution_providers(TENSORRT, "fp32", None)[0] == (TENSORRT, {"trt_fp16_enable": False})
