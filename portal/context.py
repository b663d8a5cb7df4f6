"""What the portal is given at start, and who is asking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import procrastinate
from prometheus_client import CollectorRegistry

from dicom_gateway.instance_sink import RecordOutcome
from pipeline.database import Database
from pipeline.queue import deferring_app

ReadinessCheck = Callable[[], str | None]
"""Returns None when all is well, else one sentence about what is not."""


@dataclass(frozen=True)
class PortalContext:
    """Everything the portal needs from outside.

    data_root: folder of instances, results and user models.
    session_hours: hours after which a person signs in again.
    cookie_secure: cookies are sent over TLS only; set it wherever browsers come by https.
    time_zone: IANA name; pages show times in this zone and name it.
    instance_bytes_max: the largest instance that is taken, in bytes.
    free_bytes_min: with less free space on the disk of the data folder no instance is taken.
    observe_instance: told the outcome of each instance that is taken.
    readiness_checks: further named checks of `/readyz`, for what the server wires up.
    """

    database: Database
    data_root: Path
    session_hours: float = 12.0
    cookie_secure: bool = False
    time_zone: str = "UTC"
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    instance_bytes_max: int = 2 << 30
    free_bytes_min: int = 512 << 20
    observe_instance: Callable[[RecordOutcome], None] = lambda _outcome: None
    readiness_checks: dict[str, ReadinessCheck] = field(default_factory=dict)

    @cached_property
    def queue(self) -> procrastinate.App:
        """For what a page asks the workers to do; connects when it is first used."""
        return deferring_app(self.database.url)

    @property
    def results_root(self) -> Path:
        """Where the encode step leaves reports: one folder for each study and revision."""
        return self.data_root / "results"


class Role(StrEnum):
    """What a person may see. Clinicians and operators see patients, finance sees money, admins both."""

    ADMIN = "admin"
    CLINICIAN = "clinician"
    FINANCE = "finance"
    OPERATOR = "operator"


SEES_STUDIES = frozenset({Role.ADMIN, Role.CLINICIAN, Role.OPERATOR})
DECIDES_STUDIES = frozenset({Role.ADMIN, Role.OPERATOR})
SEES_MONEY = frozenset({Role.ADMIN, Role.FINANCE})
ISSUES_STATEMENTS = frozenset({Role.ADMIN, Role.FINANCE})
SEES_PEERS = frozenset({Role.ADMIN, Role.OPERATOR})
EDITS_PEERS = frozenset({Role.ADMIN})
SEES_ROUTING = frozenset({Role.ADMIN, Role.OPERATOR})
EDITS_ROUTING = frozenset({Role.ADMIN})
SEES_AUDIT = frozenset({Role.ADMIN, Role.OPERATOR})
SEES_MODELS = frozenset(Role)


@dataclass(frozen=True)
class Identity:
    """Who is asking. `role` is None for a program with an API key, which reads all of its tenant."""

    tenant: str
    tenant_name: str
    language: str
    user_name: str
    role: Role | None

    def may(self, roles: frozenset[Role]) -> bool:
        return self.role is None or self.role in roles
