"""What billing made of a usage event, for those who count."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metered:
    """kind: of the usage event. outcome, reason: of the decision about it."""

    kind: str
    outcome: str
    reason: str
