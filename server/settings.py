"""One frozen `Settings`, built once from the environment and an optional TOML file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

from inference.choose import EngineChoice, TritonChoice
from inference.errors import EngineNotPossible
from inference.triton_client import TritonAddress
from server.errors import SettingInvalid
from server.setting_values import given_values

_PREFIX = "RADMETER_"


def _setting(default: Any, variable: str, description: str, *, is_secret: bool = False) -> Any:
    metadata = {"variable": _PREFIX + variable, "description": description}
    return field(default=default, repr=not is_secret, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """Settings of one installation. What clinicians or sales change (peers, prices) is data, not settings.

    An environment variable wins over the TOML file that RADMETER_CONFIG names, whose keys are the field names.
    """

    data_directory: Path = _setting(
        Path("~/.local/share/radmeter"), "DATA", "Where instances, results and the embedded database lie."
    )
    database_url: str = _setting(
        "", "DATABASE_URL", "PostgreSQL ≥ 15, postgresql://…; empty = the embedded one in the data directory."
    )
    dicom_host: str = _setting(
        "127.0.0.1", "DICOM_HOST", "Address the DICOM port listens on; 0.0.0.0 opens it to the network."
    )
    dicom_port: int = _setting(
        11112, "DICOM_PORT", "TCP port for DICOM: echo, store, storage commitment, procedure steps."
    )
    dicom_plain: bool = _setting(
        True, "DICOM_PLAIN", "false closes the plain DICOM port: everything comes by TLS."
    )
    dicom_tls_port: int = _setting(
        2762, "DICOM_TLS_PORT", "TCP port for DICOM over TLS; it opens when a certificate is given."
    )
    dicom_tls_certificate: str = _setting(
        "", "DICOM_TLS_CERTIFICATE", "PEM file: our certificate and the intermediate ones; empty = no TLS."
    )
    dicom_tls_key: str = _setting(
        "",
        "DICOM_TLS_KEY",
        "PEM file: the key without a password; empty = it lies in the certificate's file.",
    )
    dicom_tls_authorities: str = _setting(
        "", "DICOM_TLS_AUTHORITIES", "PEM file: who may have signed the certificates of peers."
    )
    dicom_tls_client_certificate: str = _setting(
        "none",
        "DICOM_TLS_CLIENT_CERTIFICATE",
        "none, optional or required: whether peers must prove themselves by a certificate.",
    )
    dicom_tls_profile: str = _setting(
        "bcp195", "DICOM_TLS_PROFILE", "bcp195, or bcp195-extended for peers that know only DHE suites."
    )
    http_host: str = _setting(
        "127.0.0.1",
        "HTTP_HOST",
        "Address the portal listens on; put a TLS proxy before it when it leaves the machine.",
    )
    http_port: int = _setting(8080, "HTTP_PORT", "TCP port of the portal, the API and the metrics.")
    called_ae_title: str = _setting(
        "RADMETER", "AE_TITLE", "AE title of the first tenant, made at the first start."
    )
    worker_concurrency: int = _setting(
        2, "WORKER_CONCURRENCY", "Steps that one worker process runs at a time."
    )
    inference_runs_at_once: int = _setting(
        1,
        "INFERENCE_RUNS_AT_ONCE",
        "Runs that a worker process gives the device at a time; on a GPU 2 may pay.",
    )
    inference_run_memory_mib: int = _setting(
        4096,
        "INFERENCE_RUN_MEMORY_MIB",
        "MiB that the runs under way in a worker process may need together; a run that needs more is refused.",
    )
    inference_engine: str = _setting(
        "onnxruntime",
        "INFERENCE_ENGINE",
        "What runs the models: onnxruntime, or openvino or triton, each with its extra.",
    )
    inference_provider: str = _setting(
        "cpu",
        "INFERENCE_PROVIDER",
        "Where ONNX Runtime computes: cpu; cuda or tensorrt with the extra `gpu`. OpenVINO: cpu.",
    )
    inference_precision: str = _setting(
        "fp32", "INFERENCE_PRECISION", "fp32; fp16 on TensorRT; bf16 on OpenVINO; int8 on a processor."
    )
    inference_threads: int = _setting(
        0, "INFERENCE_THREADS", "Threads of one run of a model; 0 = one for each core."
    )
    inference_timeout_s: float = _setting(
        600.0, "INFERENCE_TIMEOUT_S", "Seconds after which one run of a model is given up."
    )
    inference_memory_mib: int = _setting(
        2048, "INFERENCE_MEMORY_MIB", "Memory for opened models; the least recently used are closed."
    )
    inference_fallback: str = _setting(
        "",
        "INFERENCE_FALLBACK",
        "onnxruntime or openvino: computes in fp32 on the processor what the engine cannot; empty = nothing does.",
    )
    triton_url: str = _setting(
        "grpc://127.0.0.1:8001",
        "TRITON_URL",
        "gRPC address of the Triton server, for the engine triton; grpcs:// for TLS.",
    )
    triton_tls_authorities: str = _setting(
        "",
        "TRITON_TLS_AUTHORITIES",
        "PEM file: who may have signed Triton's certificate; empty = the system's.",
    )
    triton_tls_certificate: str = _setting(
        "", "TRITON_TLS_CERTIFICATE", "PEM file: our certificate, where Triton asks for one."
    )
    triton_tls_key: str = _setting("", "TRITON_TLS_KEY", "PEM file: the key of that certificate.")
    triton_shared_memory: str = _setting(
        "auto",
        "TRITON_SHARED_MEMORY",
        "auto uses it where Triton is on this host and takes it; on insists; off never; cuda a GPU's memory.",
    )
    triton_server: str = _setting(
        "",
        "TRITON_SERVER",
        "Program or environment of a tritonserver that is started and mended here; empty = it is only watched.",
    )
    triton_canary_s: float = _setting(
        15.0, "TRITON_CANARY_S", "Seconds between two questions with a known answer to each model on Triton."
    )
    instance_bytes_max: int = _setting(
        2 << 30,
        "INSTANCE_BYTES_MAX",
        "Largest instance that is received, in bytes; a larger one aborts the association.",
    )
    receiver_processes: int = _setting(
        0, "RECEIVER_PROCESSES", "Processes that receive over DICOM; 0 = one for each core."
    )
    associations_max: int = _setting(64, "ASSOCIATIONS_MAX", "Associations open at a time, over all senders.")
    associations_per_host_max: int = _setting(
        16, "ASSOCIATIONS_PER_HOST_MAX", "Associations open at a time from one address."
    )
    session_hours: int = _setting(12, "SESSION_HOURS", "How long a sign-in to the portal lasts.")
    session_idle_minutes: int = _setting(
        60, "SESSION_IDLE_MINUTES", "Minutes without use after which a session ends sooner."
    )
    time_zone: str = _setting(
        "UTC", "TIME_ZONE", "IANA time zone that the portal shows times in, Asia/Shanghai say."
    )
    cookie_secure: bool = _setting(False, "COOKIE_SECURE", "true when the portal is reached by https only.")
    drain_s: float = _setting(
        30.0, "DRAIN_S", "Grace after SIGTERM for associations and steps in progress, in seconds."
    )
    stripe_api_key: str = _setting(
        "",
        "STRIPE_API_KEY",
        "Secret or restricted key of Stripe; empty = Stripe is not used. Stored and logged nowhere.",
        is_secret=True,
    )
    stripe_webhook_secrets: str = _setting(
        "",
        "STRIPE_WEBHOOK_SECRETS",
        "Signing secret (whsec_…) of Stripe's messages; two with a comma between while one replaces another.",
        is_secret=True,
    )
    portal_url: str = _setting(
        "", "PORTAL_URL", "Where people reach the portal, https://…, for links in messages; empty = no links."
    )
    smtp_url: str = _setting(
        "",
        "SMTP_URL",
        "Who takes our mails: smtp://user@host (STARTTLS), smtps://…, smtp+plain://…; empty = nobody.",
    )
    smtp_from: str = _setting("", "SMTP_FROM", "The address that mails come from.")
    smtp_password: str = _setting("", "SMTP_PASSWORD", "Password of that user.", is_secret=True)
    audit_syslog: str = _setting(
        "",
        "AUDIT_SYSLOG",
        "Who gets the audit trail by syslog: tls://host:6514 or udp://host:514; empty = nobody.",
    )
    log_level: str = _setting("INFO", "LOG_LEVEL", "DEBUG, INFO, WARNING or ERROR.")

    def __post_init__(self) -> None:
        for name in ("dicom_port", "dicom_tls_port", "http_port"):
            if not 1 <= getattr(self, name) <= 65535:
                raise SettingInvalid(name, str(getattr(self, name)), "a port is 1 to 65535")
        if not 1 <= self.worker_concurrency <= 64:
            raise SettingInvalid("worker_concurrency", str(self.worker_concurrency), "1 to 64")
        self._check_engine()
        if not 1 <= self.inference_runs_at_once <= 64:
            raise SettingInvalid("inference_runs_at_once", str(self.inference_runs_at_once), "1 to 64")
        if not 64 <= self.inference_run_memory_mib <= 1 << 20:
            raise SettingInvalid(
                "inference_run_memory_mib", str(self.inference_run_memory_mib), "64 to 1048576 MiB"
            )
        if not 0 <= self.receiver_processes <= 256:
            raise SettingInvalid("receiver_processes", str(self.receiver_processes), "0 to 256")
        if self.log_level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise SettingInvalid("log_level", self.log_level, "DEBUG, INFO, WARNING or ERROR")
        self._check_tls()
        if self.time_zone not in available_timezones():
            raise SettingInvalid("time_zone", self.time_zone, "no time zone of the IANA database")
        object.__setattr__(self, "data_directory", self.data_directory.expanduser().resolve())

    def _check_engine(self) -> None:
        try:
            _ = self.engine_choice
        except EngineNotPossible as error:
            name = f"inference_{error.part}"
            raise SettingInvalid(name, getattr(self, name), str(error)) from None
        if self.triton_shared_memory not in ("auto", "on", "off", "cuda"):
            raise SettingInvalid("triton_shared_memory", self.triton_shared_memory, "auto, on, off or cuda")
        if not 1 <= self.triton_canary_s <= 86400:
            raise SettingInvalid("triton_canary_s", str(self.triton_canary_s), "1 second to a day")
        try:
            TritonAddress.parse(self.triton_url)
        except EngineNotPossible as error:
            raise SettingInvalid("triton_url", self.triton_url, str(error)) from None

    def _check_tls(self) -> None:
        wanted = self.dicom_tls_client_certificate
        if wanted not in ("none", "optional", "required"):
            raise SettingInvalid("dicom_tls_client_certificate", wanted, "none, optional or required")
        if self.dicom_tls_profile not in ("bcp195", "bcp195-extended"):
            raise SettingInvalid("dicom_tls_profile", self.dicom_tls_profile, "bcp195 or bcp195-extended")
        if wanted != "none" and self.dicom_tls_certificate and not self.dicom_tls_authorities:
            raise SettingInvalid("dicom_tls_authorities", "", f"needed for client certificates ({wanted})")
        if not self.dicom_plain and not self.dicom_tls_certificate:
            raise SettingInvalid(
                "dicom_plain", "false", "without a TLS certificate no DICOM port would be open"
            )

    @property
    def engine_choice(self) -> EngineChoice:
        """What runs the models."""
        return EngineChoice(
            engine=self.inference_engine,
            provider=self.inference_provider,
            precision=self.inference_precision,
            threads=self.inference_threads,
            cache_directory=self.data_directory / "engines",
            timeout_s=self.inference_timeout_s,
            memory_mib=self.inference_memory_mib,
            fallback=self.inference_fallback,
            triton=TritonChoice(
                url=self.triton_url,
                authorities=self.triton_tls_authorities,
                certificate=self.triton_tls_certificate,
                key=self.triton_tls_key,
                shared_memory=self.triton_shared_memory,
            ),
        )

    @property
    def uses_triton(self) -> bool:
        return self.inference_engine == "triton"

    @property
    def triton_directory(self) -> Path:
        """What the watch over Triton knows, and a server of our own: its repository and its log."""
        return self.data_directory / "triton"

    @property
    def instances_directory(self) -> Path:
        return self.data_directory / "instances"

    @property
    def work_directory(self) -> Path:
        """Volumes and masks between two steps; may be deleted for finished studies."""
        return self.data_directory / "work"

    @property
    def secrets_directory(self) -> Path:
        """Certificates, keys and tokens that destinations name; readable by the server alone."""
        return self.data_directory / "secrets"

    @property
    def results_directory(self) -> Path:
        return self.data_directory / "results"


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings of this process. Raises `SettingInvalid` with the name of the bad value."""
    defaults = {setting.name: (setting.metadata["variable"], setting.default) for setting in fields(Settings)}
    return Settings(**given_values(os.environ if environment is None else environment, _PREFIX, defaults))
