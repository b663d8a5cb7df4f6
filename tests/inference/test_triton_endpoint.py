"""Models on a real Triton server: the same answers as in process, and every way in which one may not come."""

from __future__ import annotations

import dataclasses
import secrets
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("tritonclient.grpc")

from tritonclient.grpc import InferResult, service_pb2

from inference import triton_shared_memory
from inference.choose import EngineChoice, TritonChoice, make_endpoint
from inference.engine import Engine
from inference.errors import (
    EndpointFailed,
    EndpointUnavailable,
    InferenceError,
    InvalidModelOutput,
    ModelNotServed,
    RunCancelled,
    RunTimedOut,
    ServedModelDiffers,
)
from inference.infer import check_outputs, run_model
from inference.onnxruntime_endpoint import OnnxRuntimeEndpoint
from inference.scheduler import Scheduler
from inference.triton_canary import Canary, CanaryAnsweredWrongly
from inference.triton_endpoint import TritonEndpoint, output_arrays
from inference.triton_repository import served_name
from inference.wishes import Wishes, wishing
from models.lung_nodule_ct.evaluate import volume_of
from models.lung_nodule_ct.model import LungNoduleCT
from models.lung_nodule_ct.phantom import make_phantom
from tests import triton_misbehaviour as misbehaviour
from tests.triton_peer import RunningTriton, box, detector, misbehaving, regions, replacement, running

SCORE_TOLERANCE, PLACE_TOLERANCE_MM = 1e-4, 0.01


@pytest.fixture(scope="module")
def triton() -> Iterator[RunningTriton]:
    with running([detector(), misbehaving()], replacement()) as server:
        yield server


@pytest.fixture(autouse=True)
def own_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests beside this one have regions too."""
    monkeypatch.setattr(triton_shared_memory, "PREFIX", f"radmeter_test_{secrets.token_hex(4)}_")


@pytest.fixture
def endpoint(triton: RunningTriton) -> Iterator[TritonEndpoint]:
    made = triton.endpoint()
    yield made
    made.close()


class TestAnswers:
    def test_a_phantom_has_the_same_findings_as_in_process(self, triton: RunningTriton) -> None:
        chosen = EngineChoice("triton", triton=TritonChoice(f"grpc://{triton.address}"))
        phantom = make_phantom(9001, spacing_mm=(2.0, 1.5, 1.5), nodule_count=12)
        volume = volume_of(dataclasses.replace(phantom, voxels=phantom.voxels[40:75], truth=()))
        here = run_model(detector(), volume, OnnxRuntimeEndpoint(threads=1)).findings
        result = run_model(detector(), volume, make_endpoint(chosen))
        there = result.findings
        assert result.engines == (Engine("triton", "cpu", "fp32"),)
        assert len(here) == len(there) >= 3
        for ours, theirs in zip(here, there, strict=True):
            assert theirs.score == pytest.approx(ours.score, abs=SCORE_TOLERANCE)
            assert theirs.center_lps_mm == pytest.approx(ours.center_lps_mm, abs=PLACE_TOLERANCE_MM)
            assert theirs.mean_diameter_mm == pytest.approx(ours.mean_diameter_mm, abs=PLACE_TOLERANCE_MM)

    def test_shared_memory_and_grpc_give_the_same_bytes(self, triton: RunningTriton) -> None:
        noise = {"hounsfield": np.random.default_rng(1).integers(-1000, 400, (1, 48, 64, 80), np.int16)}
        answers = []
        for shared_memory in ("on", "off"):
            endpoint = triton.endpoint(shared_memory=shared_memory)
            answers.append(endpoint.run(detector(), noise))
            assert len(regions()) == (1 if shared_memory == "on" else 0)
            endpoint.close()
        for name, array in answers[0].items():
            assert np.array_equal(array, answers[1][name])
        assert answers[0].engine == Engine("triton", "cpu", "fp32")

    def test_requests_of_several_threads_get_their_own_answers(self, endpoint: TritonEndpoint) -> None:
        def ask(number: int) -> tuple[int, float]:
            first = misbehaviour.ECHOES_FROM + number
            return first, float(endpoint.run(misbehaving(), box(first))["scores"][0, 0])

        with ThreadPoolExecutor(3) as pool:  # the queue of this model holds four
            answers = list(pool.map(ask, range(90)))
        assert all(sent == came for sent, came in answers)
        assert 1 <= len(regions()) <= 3

    def test_the_canary_of_the_model_is_answered_as_it_should(self, endpoint: TritonEndpoint) -> None:
        Canary(detector()).ask(endpoint.run)

    def test_other_numbers_than_the_models_are_noticed_by_its_canary(self, endpoint: TritonEndpoint) -> None:
        with pytest.raises(CanaryAnsweredWrongly, match="runs other weights or computes wrongly"):
            Canary(misbehaving()).ask(endpoint.run)

    def test_the_server_counts_the_runs(self, triton: RunningTriton, endpoint: TritonEndpoint) -> None:
        counted = f'nv_inference_request_success{{model="{served_name(detector().manifest)}",version="1"}}'

        def total() -> int:
            url = f"http://127.0.0.1:{triton.metrics_port}/metrics"
            lines = urllib.request.urlopen(url, timeout=5).read().decode().splitlines()
            return next(int(line.split()[-1]) for line in lines if line.startswith(counted))

        before = total(), endpoint.runs_of(detector().manifest)
        endpoint.run(detector(), box())
        assert (total(), endpoint.runs_of(detector().manifest)) == (before[0] + 1, before[1] + 1)


class TestMisbehaviour:
    @pytest.mark.parametrize(
        ("order", "words"),
        [
            (misbehaviour.NAN, "scores holds NaN"),
            (misbehaviour.WRONG_SHAPE, "centers has shape"),
            (misbehaviour.NO_OUTPUT, "no output called 'diameters'"),
        ],
    )
    def test_numbers_that_cannot_be_used_end_no_study_with_a_result(
        self, endpoint: TritonEndpoint, order: int, words: str
    ) -> None:
        with pytest.raises(InferenceError) as caught:
            check_outputs(endpoint.run(misbehaving(), box(order)), misbehaving().manifest)
        assert isinstance(caught.value, InvalidModelOutput | EndpointFailed)
        assert words in str(caught.value) or isinstance(caught.value, EndpointFailed)

    @pytest.mark.parametrize(
        ("datatype", "sent"), [("FP32", b""), ("FP32", bytes(9)), ("BYTES", b"\x01\0\0\0x" * 4)]
    )
    def test_bytes_that_are_not_the_array_they_are_said_to_be_are_no_output(
        self, datatype: str, sent: bytes
    ) -> None:
        response = service_pb2.ModelInferResponse(raw_output_contents=[sent])
        response.outputs.add(name="scores", datatype=datatype, shape=[1, 4])
        with pytest.raises(InvalidModelOutput, match="scores"):
            output_arrays(InferResult(response), ["scores"])

    def test_an_exception_of_the_model_is_told(self, endpoint: TritonEndpoint) -> None:
        with pytest.raises(EndpointFailed, match="it does not work"):
            endpoint.run(misbehaving(), box(misbehaviour.RAISES))

    def test_an_input_of_another_type_is_refused(self, endpoint: TritonEndpoint) -> None:
        with pytest.raises(EndpointFailed, match="FP32"):
            endpoint.run(detector(), {"hounsfield": np.zeros((1, 48, 48, 48), np.float32)})

    def test_a_slow_model_is_not_waited_for_and_its_late_answer_goes_to_nobody(
        self, endpoint: TritonEndpoint
    ) -> None:
        endpoint.warm(misbehaving())
        began = time.monotonic()
        with pytest.raises(RunTimedOut):
            endpoint.run(misbehaving(), box(misbehaviour.SLOW), timeout_s=0.1)
        assert time.monotonic() - began < 0.1 + misbehaviour.SLOW_S / 2
        answer = endpoint.run(misbehaving(), box(misbehaviour.ECHOES_FROM))
        assert (answer["scores"] == misbehaviour.ECHOES_FROM).all()

    def test_a_run_that_nobody_waits_for_any_more_is_withdrawn(self, endpoint: TritonEndpoint) -> None:
        endpoint.warm(misbehaving())
        began = time.monotonic()
        with pytest.raises(RunCancelled), wishing(Wishes(is_cancelled=lambda: True)):
            endpoint.run(misbehaving(), box(misbehaviour.VERY_SLOW))
        assert time.monotonic() - began < misbehaviour.VERY_SLOW_S

    def test_a_full_queue_refuses_at_once(self, endpoint: TritonEndpoint) -> None:
        def ask(_: int) -> str:
            try:
                endpoint.run(misbehaving(), box(misbehaviour.SLOW))
            except EndpointUnavailable as error:
                return str(error)
            return "answered"

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, range(8)))
        assert answers.count("answered") >= 4
        refused = [answer for answer in answers if answer != "answered"]
        assert refused
        assert all("has no room" in answer for answer in refused)

    def test_an_emergency_overtakes_what_waits(self, endpoint: TritonEndpoint) -> None:
        done: list[str] = []

        def ask(name: str, priority: int) -> None:
            with wishing(Wishes(priority)):
                endpoint.run(misbehaving(), box(misbehaviour.SLOW))
            done.append(name)

        threads = [threading.Thread(target=ask, args=(f"off-peak {n}", 2)) for n in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(misbehaviour.SLOW_S / 3)  # one runs, two wait
        threads.append(threading.Thread(target=ask, args=("emergency", 0)))
        threads[-1].start()
        for thread in threads:
            thread.join()
        assert done.index("emergency") == 1

    def test_a_cancelled_study_is_withdrawn_through_scheduler_and_limits(self, triton: RunningTriton) -> None:
        server = TritonChoice(f"grpc://{triton.address}")
        whole = make_endpoint(EngineChoice("triton", triton=server, fallback="onnxruntime"))
        study = Scheduler(whole).for_study(tenant="a", is_cancelled=Cancelled(after=1))
        began = time.monotonic()
        with pytest.raises(RunCancelled):
            study.run(misbehaving(), box(misbehaviour.VERY_SLOW))
        assert time.monotonic() - began < misbehaviour.VERY_SLOW_S


class Cancelled:
    """Says no `after` times, then yes."""

    def __init__(self, after: int) -> None:
        self._left = after

    def __call__(self) -> bool:
        self._left -= 1
        return self._left < 0


class TestWhichModel:
    def test_a_model_that_the_server_lacks_is_said_to_be_exported(self, endpoint: TritonEndpoint) -> None:
        other = LungNoduleCT(dataclasses.replace(detector().manifest, version="0.0.1"))
        with pytest.raises(ModelNotServed, match=r"radmeter models export --triton") as caught:
            endpoint.run(other, box())
        assert not caught.value.is_transient

    def test_other_weights_under_the_same_name_are_refused(self, endpoint: TritonEndpoint) -> None:
        digest = detector().manifest.weights_sha256
        changed = digest[:-1] + ("0" if digest[-1] != "0" else "1")
        other = LungNoduleCT(dataclasses.replace(detector().manifest, weights_sha256=changed))
        with pytest.raises(ServedModelDiffers, match=digest):
            endpoint.run(other, box())

    def test_changed_weights_in_the_repository_are_not_loaded(
        self, triton: RunningTriton, endpoint: TritonEndpoint
    ) -> None:
        name = served_name(detector().manifest)
        path = triton.folder / "repository" / name / "1" / "model.onnx"
        content = path.read_bytes()
        try:
            path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
            with pytest.raises(InferenceError, match="export the model again"):
                endpoint.load_again(detector().manifest, timeout_s=20)
            with pytest.raises(EndpointUnavailable, match="has not loaded"):
                endpoint.run(detector(), box())
        finally:
            path.write_bytes(content)
            endpoint.load_again(detector().manifest, timeout_s=20)
        endpoint.run(detector(), box())
