"""Security alerts of the gateway on their way into the audit trail, so that a flood cannot fill it.

The first of equal alerts is written at once. What follows within a minute is counted and written as one.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import psycopg
import psycopg_pool

from dicom_gateway.security_alert import SecurityAlert
from pipeline.audit import AuditEvent, record_now
from pipeline.database import Database

_WINDOW_S = 60.0
_KEYS_MAX = 200
_KEYS_OF_HOST_MAX = 10
_MANY_HOSTS = "many hosts"


@dataclass
class _Window:
    """until: when it is over, on the monotonic clock. count: of those after the first."""

    until: float
    count: int = 0


class AlertDesk:
    """Writes alerts. Called from many threads; never raises.

    Ten different alerts of a host in a minute are written as they are, further ones without their names; beyond two
    hundred in all without the host too. So at most some four hundred rows a minute are written whatever comes, and
    every alert is counted in one of them.
    """

    def __init__(
        self, database: Database, *, now: Callable[[], float] = time.monotonic, window_s: float = _WINDOW_S
    ):
        self._database = database
        self._now = now
        self._window_s = window_s
        self._lock = threading.Lock()
        self._windows: dict[SecurityAlert, _Window] = {}
        self._timer: threading.Timer | None = None

    def report(self, alert: SecurityAlert) -> None:
        self.flush()
        with self._lock:
            alert = self._summed_up(alert)
            window = self._windows.get(alert)
            if window is not None:
                window.count += 1
                self._flush_later()
                return
            self._windows[alert] = _Window(self._now() + self._window_s)
        self._write(alert, 1)

    def _summed_up(self, alert: SecurityAlert) -> SecurityAlert:
        """The alert with as much of its detail as there is room for in this minute."""
        if alert in self._windows:
            return alert
        if sum(one.remote_host == alert.remote_host for one in self._windows) >= _KEYS_OF_HOST_MAX:
            alert = replace(alert, calling_ae_title="", called_ae_title="", certificate="", study="")
        if alert not in self._windows and len(self._windows) >= _KEYS_MAX:
            alert = SecurityAlert(alert.kind, alert.reason, _MANY_HOSTS)
        return alert

    def flush(self, *, everything: bool = False) -> None:
        """Write what was counted in windows that are over, or in all."""
        with self._lock:
            now = self._now()
            over = [one for one, window in self._windows.items() if everything or window.until <= now]
            counted = [(alert, self._windows.pop(alert).count) for alert in over]
        for alert, count in counted:
            if count:
                self._write(alert, count)

    def close(self) -> None:
        """Write what is left."""
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self.flush(everything=True)

    def _flush_later(self) -> None:
        """Also when nothing more comes, the count is written."""
        if self._timer is None or not self._timer.is_alive():
            self._timer = threading.Timer(self._window_s + 0.1, self.flush)
            self._timer.daemon = True
            self._timer.start()

    def _write(self, alert: SecurityAlert, count: int) -> None:
        detail = {
            "reason": alert.reason,
            "host": alert.remote_host,
            "calling_ae_title": alert.calling_ae_title,
            "called_ae_title": alert.called_ae_title,
            "certificate": alert.certificate,
            "study": alert.study,
            "count": count if count > 1 else None,
        }
        tenant = alert.tenant or self._tenant_of(alert.called_ae_title)
        record_now(self._database, tenant, AuditEvent[alert.kind.upper()], detail)

    def _tenant_of(self, called_ae_title: str) -> str | None:
        if not called_ae_title:
            return None
        with contextlib.suppress(psycopg.Error, psycopg_pool.PoolTimeout, psycopg_pool.PoolClosed):
            with self._database.system_transaction() as conn:
                row = conn.execute("SELECT tenant_of_called(%s) AS tenant", (called_ae_title,)).fetchone()
            return row["tenant"] if row else None
        return None
