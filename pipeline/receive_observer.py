"""Who is told what the gateway and the portal take in, for metrics. By default nobody."""

from __future__ import annotations

from dicom_gateway.instance_sink import AssociationEnd, RecordOutcome
from dicom_gateway.security_alert import SecurityAlert


class ReceiveObserver:
    """Told after the commit, from any thread; must be quick and must not raise."""

    def received(self, outcome: RecordOutcome, size_bytes: int, seconds: float) -> None:
        """An instance was committed; seconds: what that took."""

    def alerted(self, alert: SecurityAlert) -> None:
        """A peer was denied something."""

    def associated(self) -> None:
        """An association was accepted; a request of the web counts as one."""

    def association_ended(self, how: AssociationEnd) -> None:
        """It is over."""
