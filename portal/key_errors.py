"""Why a program with an API key is not answered."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from portal.errors import PortalError


class KeyOnlyStores(PortalError):
    """This API key is bound to a peer: it stores by STOW-RS and reads nothing."""

    status = 403
    code = "key_only_stores"


class KeyOnlyRecordsUsage(PortalError):
    """This API key has the scope `usage:write`: it records usage events and reads nothing but them."""

    status = 403
    code = "key_only_records_usage"


class KeyRecordsNoUsage(PortalError):
    """This API key may not record usage. Make one with `radmeter key add LABEL --usage-source NAME`."""

    status = 403
    code = "key_records_no_usage"


class TooManyRequests(PortalError):
    """The API key makes more requests than it may. Wait and try again."""

    status = 429
    code = "too_many_requests"

    def __init__(self, retry_after_s: int, message: str) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class CallsUsedUp(PortalError):
    """A limit of the contract is used up, and the contract refuses calls beyond it."""

    status = 402
    code = "quota_used_up"

    def __init__(
        self, message: str, limit_id: str, opens_at: datetime | None, retry_after_s: int | None
    ) -> None:
        super().__init__(message)
        self.limit_id = limit_id
        self.opens_at = opens_at
        self.retry_after_s = retry_after_s

    @property
    def detail(self) -> Mapping[str, object]:
        return {"limit": self.limit_id, "opens_at": self.opens_at.isoformat() if self.opens_at else None}


class KeyStoresNothing(PortalError):
    """This API key is not bound to a peer, so it cannot store. Make one with `radmeter key add LABEL --peer AE`."""

    status = 403
    code = "key_stores_nothing"
