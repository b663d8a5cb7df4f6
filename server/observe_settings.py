"""Settings of what is watched: logs, the health port, traces."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from server.errors import SettingInvalid
from server.setting import SettingsPart, setting


@dataclass(frozen=True)
class ObserveSettings(SettingsPart):
    log_level: str = setting("INFO", "LOG_LEVEL", "DEBUG, INFO, WARNING or ERROR.")
    health_host: str = setting(
        "127.0.0.1", "HEALTH_HOST", "Address the health port listens on; 0.0.0.0 for probes from outside."
    )
    health_port: int = setting(
        0,
        "HEALTH_PORT",
        "TCP port with /healthz, /readyz and /metrics of a role without pages that runs alone; 0 = off.",
    )

    traces: str = setting(
        "",
        "TRACES",
        "OTLP/HTTP collector that gets traces of studies, http://collector:4318; off = none, whatever OTEL_* say.",
    )

    def check(self) -> None:
        if self.log_level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise SettingInvalid("log_level", self.log_level, "DEBUG, INFO, WARNING or ERROR")
        if not 0 <= self.health_port <= 65535:
            raise SettingInvalid("health_port", str(self.health_port), "0 for none, or a port up to 65535")
        parts = urlsplit(self.traces)
        if self.traces not in ("", "off") and not (parts.scheme in ("http", "https") and parts.hostname):
            raise SettingInvalid("traces", self.traces, "http://host:port of a collector, off, or nothing")
