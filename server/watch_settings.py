"""Settings of how the installation watches itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

from server.errors import SettingInvalid
from server.setting import SettingsPart, setting

_MINUTES_MAX = 24 * 60
_ADDRESS = re.compile(r"(tls://)?([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):([0-9]{1,5})", re.ASCII)


@dataclass(frozen=True)
class WatchSettings(SettingsPart):
    heartbeat_minutes: int = setting(
        0, "HEARTBEAT_MINUTES", "Minutes between two made-up studies through the whole path; 0 = none."
    )
    heartbeat_to: str = setting(
        "",
        "HEARTBEAT_TO",
        "host:port of the gateway that they go to, tls://host:port by TLS; empty = the DICOM port of these settings.",
    )

    def check(self) -> None:
        if not 0 <= self.heartbeat_minutes <= _MINUTES_MAX:
            raise SettingInvalid("heartbeat_minutes", str(self.heartbeat_minutes), f"0 to {_MINUTES_MAX}")
        if self.heartbeat_to:
            gateway_address(self.heartbeat_to)


def gateway_address(text: str) -> tuple[str, int, bool]:
    """Host, port and whether by TLS. Raises `SettingInvalid`."""
    match = _ADDRESS.fullmatch(text)
    if match is None or not 1 <= int(match[3]) <= 65535:
        raise SettingInvalid("heartbeat_to", text, "host:port, or tls://host:port")
    return match[2].strip("[]"), int(match[3]), match[1] is not None
