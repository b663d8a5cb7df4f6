"""What the gateway and the portal take in, as metrics."""

from __future__ import annotations

from dicom_gateway.instance_sink import AssociationEnd, RecordOutcome
from dicom_gateway.security_alert import SecurityAlert
from pipeline.receive_observer import ReceiveObserver
from server.metrics import Metrics


class ReceiveMetrics(ReceiveObserver):
    """Counts what is taken."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def received(self, outcome: RecordOutcome, size_bytes: int, seconds: float) -> None:
        self._metrics.instances.labels(outcome.value).inc()
        self._metrics.received_bytes.inc(size_bytes)
        self._metrics.record_seconds.observe(seconds)

    def alerted(self, alert: SecurityAlert) -> None:
        self._metrics.alerts.labels(alert.kind).inc()

    def associated(self) -> None:
        self._metrics.associations_open.inc()

    def association_ended(self, how: AssociationEnd) -> None:
        self._metrics.associations_open.dec()
        self._metrics.associations.labels(how).inc()


def gateway_counts(metrics: Metrics, name: str, amount: int, reason: str) -> None:
    """What the acceptor counts, see `dicom_gateway.counters`; what the sink is told too is left to it."""
    if name in ("associations_rejected", "associations_aborted", "tls_handshakes_failed"):
        metrics.associations_refused.labels(name.removeprefix("associations_"), reason).inc(amount)
    elif "_refused_" in name:
        what, _, status = name.partition("s_refused_")
        metrics.requests_refused.labels(what, status).inc(amount)
