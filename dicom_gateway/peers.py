"""Who may send to us, and where results go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from study.identifiers import AETitle

DuplicatePolicy = Literal["failure", "warning"]

QUIET_TIME_DEFAULT_S = 10.0


@dataclass(frozen=True)
class Peer:
    """A DICOM node that a tenant works with.

    host, port: where it listens; results are sent there. An empty host means that it only sends.
    quiet_time_s: its studies are complete when no instance arrived for this long.
    result_destination: who gets the results, a destination's name or a peer's AE title; None means this peer itself.
    modalities, sop_classes: what it may send; empty means all.
    duplicate_policy: how a different object under a known SOP Instance UID is answered, 0111H or B000H.
    """

    tenant: str
    ae_title: str
    host: str = ""
    port: int = 104
    quiet_time_s: float = QUIET_TIME_DEFAULT_S
    result_destination: str | None = None
    modalities: frozenset[str] = frozenset()
    sop_classes: frozenset[str] = frozenset()
    duplicate_policy: DuplicatePolicy = "failure"

    def __post_init__(self) -> None:
        AETitle(self.ae_title)
        if not self.tenant:
            raise ValueError("a peer belongs to a tenant")
        if not 0 < self.port < 65_536:
            raise ValueError(f"port {self.port} is outside 1 to 65535")
        if self.quiet_time_s < 0:
            raise ValueError(f"quiet time {self.quiet_time_s} s is negative")

    def may_send_class(self, sop_class_uid: str) -> bool:
        return not self.sop_classes or sop_class_uid in self.sop_classes

    def may_send_modality(self, modality: str) -> bool:
        return not self.modalities or modality in self.modalities
