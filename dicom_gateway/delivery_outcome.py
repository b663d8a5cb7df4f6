"""What became of one object that was to be delivered, whatever the protocol."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DeliveryOutcome:
    """What became of one file.

    status: of the peer's answer for this instance (PS3.4 table B.2-1); None where there was none.
    acknowledged: the peer said that it keeps the instance.
    error: why not, for people; None when acknowledged.
    is_refusal: the peer looked at it and said no, so asking again the same way is useless.
    warning: what the peer says about how it stored an acknowledged instance.
    retry_after_s: the peer asks not to come back earlier.
    """

    sop_instance_uid: str
    status: int | None
    acknowledged: bool
    error: str | None
    path: Path
    is_refusal: bool = False
    warning: str | None = None
    retry_after_s: float | None = None
