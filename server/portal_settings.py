"""Settings of the portal and the API."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import available_timezones

from server.errors import SettingInvalid
from server.setting import SettingsPart, setting


@dataclass(frozen=True)
class PortalSettings(SettingsPart):
    http_host: str = setting(
        "127.0.0.1",
        "HTTP_HOST",
        "Address the portal listens on; put a TLS proxy before it when it leaves the machine.",
    )
    http_port: int = setting(8080, "HTTP_PORT", "TCP port of the portal, the API and the metrics.")
    session_hours: int = setting(12, "SESSION_HOURS", "How long a sign-in to the portal lasts.")
    session_idle_minutes: int = setting(
        60, "SESSION_IDLE_MINUTES", "Minutes without use after which a session ends sooner."
    )
    time_zone: str = setting(
        "UTC", "TIME_ZONE", "IANA time zone that the portal shows times in, Asia/Shanghai say."
    )
    cookie_secure: bool = setting(False, "COOKIE_SECURE", "true when the portal is reached by https only.")
    portal_url: str = setting(
        "", "PORTAL_URL", "Where people reach the portal, https://…, for links in messages; empty = no links."
    )

    def check(self) -> None:
        if not 1 <= self.http_port <= 65535:
            raise SettingInvalid("http_port", str(self.http_port), "a port is 1 to 65535")
        if self.time_zone not in available_timezones():
            raise SettingInvalid("time_zone", self.time_zone, "no time zone of the IANA database")
