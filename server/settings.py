"""One frozen `Settings`, built once from the environment and an optional TOML file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from inference.choose import EngineChoice, TritonChoice
from inference.errors import EngineNotPossible
from server.backup_settings import BackupSettings
from server.dicom_settings import DicomSettings
from server.errors import SettingInvalid
from server.inference_settings import InferenceSettings
from server.objects_settings import ObjectsSettings
from server.observe_settings import ObserveSettings
from server.outside_settings import OutsideSettings
from server.portal_settings import PortalSettings
from server.protection_settings import ProtectionSettings
from server.setting import PREFIX, SettingsPart, setting
from server.setting_values import given_values
from server.watch_settings import WatchSettings


@dataclass(frozen=True)
class Settings(
    DicomSettings,
    PortalSettings,
    InferenceSettings,
    OutsideSettings,
    ProtectionSettings,
    ObserveSettings,
    BackupSettings,
    ObjectsSettings,
    WatchSettings,
):
    """Settings of one installation. What clinicians or sales change (peers, prices) is data, not settings.

    An environment variable wins over the TOML file that RADMETER_CONFIG names, whose keys are the field names.
    """

    data_directory: Path = setting(
        Path("~/.local/share/radmeter"), "DATA", "Where instances, results and the embedded database lie."
    )
    database_url: str = setting(
        "", "DATABASE_URL", "PostgreSQL ≥ 15, postgresql://…; empty = the embedded one in the data directory."
    )
    worker_concurrency: int = setting(
        2, "WORKER_CONCURRENCY", "Steps that one worker process runs at a time."
    )
    takeover_s: float = setting(
        10.0,
        "TAKEOVER_S",
        "Seconds without a sign of life after which a worker's work is given to others; the same for all.",
    )
    drain_s: float = setting(
        30.0, "DRAIN_S", "Grace after SIGTERM for associations and steps in progress, in seconds."
    )

    def __post_init__(self) -> None:
        for part in type(self).__bases__:
            assert issubclass(part, SettingsPart)
            part.check(self)
        if not 1 <= self.worker_concurrency <= 64:
            raise SettingInvalid("worker_concurrency", str(self.worker_concurrency), "1 to 64")
        if not 2 <= self.takeover_s <= 600:
            raise SettingInvalid("takeover_s", str(self.takeover_s), "2 to 600 seconds")
        try:
            _ = self.engine_choice
        except EngineNotPossible as error:
            name = f"inference_{error.part}"
            raise SettingInvalid(name, getattr(self, name), str(error)) from None
        object.__setattr__(self, "data_directory", self.data_directory.expanduser().resolve())

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
    return Settings(**given_values(os.environ if environment is None else environment, PREFIX, defaults))
