"""Settings of what runs the models."""

from __future__ import annotations

from dataclasses import dataclass

from inference.errors import EngineNotPossible
from inference.triton_client import TritonAddress
from server.errors import SettingInvalid
from server.setting import SettingsPart, setting


@dataclass(frozen=True)
class InferenceSettings(SettingsPart):
    inference_runs_at_once: int = setting(
        1,
        "INFERENCE_RUNS_AT_ONCE",
        "Runs that a worker process gives the device at a time; on a GPU 2 may pay.",
    )
    inference_run_memory_mib: int = setting(
        4096,
        "INFERENCE_RUN_MEMORY_MIB",
        "MiB that the runs under way in a worker process may need together; a run that needs more is refused.",
    )
    inference_engine: str = setting(
        "onnxruntime",
        "INFERENCE_ENGINE",
        "What runs the models: onnxruntime, or openvino or triton, each with its extra.",
    )
    inference_provider: str = setting(
        "cpu",
        "INFERENCE_PROVIDER",
        "Where ONNX Runtime computes: cpu; cuda or tensorrt with the extra `gpu`. OpenVINO: cpu.",
    )
    inference_precision: str = setting(
        "fp32", "INFERENCE_PRECISION", "fp32; fp16 on TensorRT; bf16 on OpenVINO; int8 on a processor."
    )
    inference_threads: int = setting(
        0, "INFERENCE_THREADS", "Threads of one run of a model; 0 = one for each core."
    )
    inference_timeout_s: float = setting(
        600.0, "INFERENCE_TIMEOUT_S", "Seconds after which one run of a model is given up."
    )
    inference_memory_mib: int = setting(
        2048, "INFERENCE_MEMORY_MIB", "Memory for opened models; the least recently used are closed."
    )
    inference_fallback: str = setting(
        "",
        "INFERENCE_FALLBACK",
        "onnxruntime or openvino: computes in fp32 on the processor what the engine cannot; empty = nothing does.",
    )
    triton_url: str = setting(
        "grpc://127.0.0.1:8001",
        "TRITON_URL",
        "gRPC address of the Triton server, for the engine triton; grpcs:// for TLS.",
    )
    triton_tls_authorities: str = setting(
        "",
        "TRITON_TLS_AUTHORITIES",
        "PEM file: who may have signed Triton's certificate; empty = the system's.",
    )
    triton_tls_certificate: str = setting(
        "", "TRITON_TLS_CERTIFICATE", "PEM file: our certificate, where Triton asks for one."
    )
    triton_tls_key: str = setting("", "TRITON_TLS_KEY", "PEM file: the key of that certificate.")
    triton_shared_memory: str = setting(
        "auto",
        "TRITON_SHARED_MEMORY",
        "auto uses it where Triton is on this host and takes it; on insists; off never; cuda a GPU's memory.",
    )
    triton_server: str = setting(
        "",
        "TRITON_SERVER",
        "Program or environment of a tritonserver that is started and mended here; empty = it is only watched.",
    )
    triton_canary_s: float = setting(
        15.0, "TRITON_CANARY_S", "Seconds between two questions with a known answer to each model on Triton."
    )

    def check(self) -> None:
        if not 1 <= self.inference_runs_at_once <= 64:
            raise SettingInvalid("inference_runs_at_once", str(self.inference_runs_at_once), "1 to 64")
        if not 64 <= self.inference_run_memory_mib <= 1 << 20:
            raise SettingInvalid(
                "inference_run_memory_mib", str(self.inference_run_memory_mib), "64 to 1048576 MiB"
            )
        if self.triton_shared_memory not in ("auto", "on", "off", "cuda"):
            raise SettingInvalid("triton_shared_memory", self.triton_shared_memory, "auto, on, off or cuda")
        if not 1 <= self.triton_canary_s <= 86400:
            raise SettingInvalid("triton_canary_s", str(self.triton_canary_s), "1 second to a day")
        try:
            TritonAddress.parse(self.triton_url)
        except EngineNotPossible as error:
            raise SettingInvalid("triton_url", self.triton_url, str(error)) from None

    @property
    def uses_triton(self) -> bool:
        return self.inference_engine == "triton"
