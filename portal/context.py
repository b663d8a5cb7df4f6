"""What the portal is given at start, and who is asking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import procrastinate
from prometheus_client import CollectorRegistry

from pipeline.database import Database
from pipeline.queue import deferring_app
from pipeline.receive_observer import ReceiveObserver
from pipeline.services import Folders
from pipeline.tracing import NO_TRACING, Tracing
from pipeline.ways_out.send_mail import MailServer
from storage.objects import LOCAL_OBJECTS, Objects

if TYPE_CHECKING:
    from dicom_gateway.web_index import WebIndex

ReadinessCheck = Callable[[], str | None]
"""Returns None when all is well, else one sentence about what is not."""


@dataclass(frozen=True)
class PortalContext:
    """Everything the portal needs from outside.

    data_root: folder of instances, results and user models.
    session_hours: hours after which a person signs in again.
    portal_url: where people reach the portal, for links; empty = as the browser that asks has it.
    session_idle_minutes: minutes without use after which a session ends sooner.
    cookie_secure: cookies are sent over TLS only; set it wherever browsers come by https.
    time_zone: IANA name; pages show times in this zone and name it.
    instance_bytes_max: the largest instance that is taken, in bytes.
    free_bytes_min: with less free space on the disk of the data folder no instance is taken.
    receive_observer: told of what is taken in. tracing: where spans go.
    mail: who takes our mails, None where nobody does.
    objects: where instances and results lie for good, if that is not the data folder.
    stripe_webhook_secrets: what Stripe signs its messages with; empty where none are taken.
    readiness_checks: further named checks of `/readyz`, for what the server wires up.
    notices: what `/readyz` shows as well but does not turn on: studies are taken in while models cannot run.
    """

    database: Database
    data_root: Path
    session_hours: float = 12.0
    session_idle_minutes: float = 60.0
    portal_url: str = ""
    cookie_secure: bool = False
    time_zone: str = "UTC"
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    instance_bytes_max: int = 2 << 30
    free_bytes_min: int = 512 << 20
    receive_observer: ReceiveObserver = field(default_factory=ReceiveObserver)
    tracing: Tracing = NO_TRACING
    readiness_checks: dict[str, ReadinessCheck] = field(default_factory=dict)
    notices: dict[str, ReadinessCheck] = field(default_factory=dict)
    stripe_webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    mail: MailServer | None = None
    objects: Objects = LOCAL_OBJECTS

    @cached_property
    def queue(self) -> procrastinate.App:
        """For what a page asks the workers to do; connects when it is first used."""
        return deferring_app(self.database.url)

    @cached_property
    def folders(self) -> Folders:
        return Folders(
            self.instances_root,
            self.data_root / "work",
            self.results_root,
            self.secrets_directory,
            self.objects,
        )

    @property
    def results_root(self) -> Path:
        """Where the encode step leaves reports: one folder for each study and revision."""
        return self.data_root / "results"

    @property
    def secrets_directory(self) -> Path:
        """Keys and secrets as files, readable by the server alone."""
        return self.data_root / "secrets"

    @property
    def instances_root(self) -> Path:
        """Where received instances lie."""
        return self.data_root / "instances"

    @cached_property
    def web_index(self) -> WebIndex:
        """Metadata of instances, for DICOMweb."""
        # Not at the top: commands, which ask for roles alone, do without pydicom.
        from dicom_gateway.web_index import WebIndex

        return WebIndex(self.data_root / "dicomweb", self.objects)

    @property
    def viewer_root(self) -> Path:
        """Where the optional image viewer lies; see docs/viewer.md."""
        return self.data_root / "viewer"


class Role(StrEnum):
    """What a person may see. Radiologists and operators see patients, finance sees money, admins both.

    A referrer, who sent the patient, reads finished reports and nothing else. An approver confirms what finance asks
    for; an auditor sees all money and changes nothing. A hospital sees its own statements, a vendor its own payouts:
    both are bound to a party, and neither sees the other's.
    """

    ADMIN = "admin"
    APPROVER = "approver"
    AUDITOR = "auditor"
    FINANCE = "finance"
    HOSPITAL = "hospital"
    OPERATOR = "operator"
    RADIOLOGIST = "radiologist"
    REFERRER = "referrer"
    VENDOR = "vendor"


SEES_STUDIES = frozenset({Role.ADMIN, Role.OPERATOR, Role.RADIOLOGIST})
SEES_REPORTS = SEES_STUDIES | {Role.REFERRER}
GIVES_VERDICTS = frozenset({Role.ADMIN, Role.RADIOLOGIST})
DECIDES_STUDIES = frozenset({Role.ADMIN, Role.OPERATOR})
OUTSIDERS = frozenset({Role.HOSPITAL, Role.VENDOR})
SEES_MONEY = frozenset({Role.ADMIN, Role.APPROVER, Role.AUDITOR, Role.FINANCE})
SEES_STATEMENTS = SEES_MONEY | {Role.HOSPITAL}
SEES_PAYOUTS = SEES_MONEY | {Role.VENDOR}
CHANGES_MONEY = frozenset({Role.ADMIN, Role.FINANCE})
DISPUTES = CHANGES_MONEY | {Role.HOSPITAL}
CLOSES_BOOKS = frozenset({Role.ADMIN, Role.APPROVER, Role.FINANCE})
APPROVES_MONEY = frozenset({Role.ADMIN, Role.APPROVER})
ISSUES_STATEMENTS = CHANGES_MONEY
SEES_PEERS = frozenset({Role.ADMIN, Role.OPERATOR})
EDITS_USERS = frozenset({Role.ADMIN})
SHARES_REPORTS = frozenset({Role.ADMIN, Role.OPERATOR, Role.RADIOLOGIST})
EDITS_PEERS = frozenset({Role.ADMIN})
SEES_ROUTING = frozenset({Role.ADMIN, Role.OPERATOR})
EDITS_ROUTING = frozenset({Role.ADMIN})
SEES_AUDIT = frozenset({Role.ADMIN, Role.OPERATOR})
SEES_MODELS = frozenset(Role) - OUTSIDERS - {Role.REFERRER}
RUNS_MODELS = frozenset({Role.ADMIN, Role.OPERATOR})


@dataclass(frozen=True)
class Identity:
    """Who is asking. `role` is None for a program with an API key, which reads all of its tenant.

    party_id: the party that a person belongs to. Who comes from outside sees this party's papers alone; nobody
    approves what is paid to the own party.
    """

    tenant: str
    tenant_name: str
    language: str
    user_name: str
    role: Role | None
    party_id: str | None = None

    @property
    def only_party(self) -> str | None:
        """The party whose papers are all that this person may see; None for who may see everybody's."""
        return self.party_id if self.role in OUTSIDERS else None

    def may(self, roles: frozenset[Role]) -> bool:
        return self.role is None or self.role in roles
