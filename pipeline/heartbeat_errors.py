"""Errors of the heartbeat."""

from __future__ import annotations

from pipeline.errors import PipelineError


class HeartbeatNotInstalled(PipelineError):
    """The heartbeat has no tenant and no peer yet."""

    def __init__(self) -> None:
        super().__init__("the heartbeat is not installed: run `radmeter heartbeat install`")


class HeartbeatTenantTaken(PipelineError):
    """A tenant of patients has the name that the heartbeat needs."""

    def __init__(self, tenant: str) -> None:
        super().__init__(
            f"the tenant {tenant} exists and is not synthetic: the heartbeat cannot use its name"
        )
