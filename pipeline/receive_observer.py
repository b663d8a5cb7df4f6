"""Who is told what the gateway and the portal take in: metrics and traces. By default nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from dicom_gateway.instance_sink import AssociationEnd, RecordOutcome
from dicom_gateway.security_alert import SecurityAlert
from pipeline.database import Connection


@dataclass(frozen=True)
class Brought:
    """What an association brought for a study that is not assembled yet."""

    study_id: UUID
    revision: int
    first_at: datetime
    now: datetime
    instances: int


class ReceiveObserver:
    """Told after the commit, from any thread; must be quick and must not raise.

    wants_studies: whether the end of an association is worth a look at what it brought.
    """

    wants_studies = False

    def received(self, outcome: RecordOutcome, size_bytes: int, seconds: float) -> None:
        """An instance was committed; seconds: what that took."""

    def alerted(self, alert: SecurityAlert) -> None:
        """A peer was denied something."""

    def associated(self) -> None:
        """An association was accepted; a request of the web counts as one."""

    def association_ended(self, tenant: str, how: AssociationEnd, brought: Sequence[Brought]) -> None:
        """It is over. brought: empty where `wants_studies` is not set."""


def brought_by(conn: Connection, tenant: str, association_id: int) -> list[Brought]:
    """The studies whose latest instance came by the association, as long as they are not assembled."""
    rows = conn.execute(
        """SELECT a.study_id, a.first_at,
                  s.revision + (s.status IN ('delivered', 'shadowed', 'rejected', 'failed'))::int AS revision,
                  clock_timestamp() AS now, a.new_count + a.identical_count AS instances
           FROM arrival a JOIN study s ON s.tenant = a.tenant AND s.id = a.study_id
           WHERE a.tenant = %s AND a.association_id = %s AND a.closed_at IS NULL ORDER BY a.id LIMIT 100""",
        (tenant, association_id),
    ).fetchall()
    return [
        Brought(row["study_id"], row["revision"], row["first_at"], row["now"], row["instances"])
        for row in rows
    ]
