"""A Stripe in this process: an HTTPClient with Stripe's rules for keys, its answers and its failures.

Idempotency as Stripe documents it: the first answer to a key is kept for a day and given again, whether it was a
success or an error, once the call began to execute; the same key with other parameters is an error. 429 and
409 keep nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import stripe

from tests.billing.fake_stripe_state import Refused, State

KEY_LIFE_S = 24 * 3600


class Fault(StrEnum):
    """What goes wrong with a call; `after`: what was asked for took effect."""

    TIMEOUT_BEFORE = "timeout before"
    TIMEOUT_AFTER = "timeout after"
    RESET_AFTER = "connection reset after"
    CONFLICT = "409"
    RATE_LIMIT = "429"
    ERROR_BEFORE = "500 before"
    ERROR_AFTER = "500 after"


@dataclass(frozen=True)
class Call:
    """One request as it arrived."""

    method: str
    path: str
    params: Mapping[str, Any]
    key: str | None
    headers: Mapping[str, str]
    raw: str


class Crash(BaseException):
    """The worker's process dies here; nothing may catch it."""


@dataclass
class FakeStripe(stripe.HTTPClient):
    """next_fault: asked before each call. calls: everything that was ever sent here."""

    state: State
    next_fault: Callable[[Call], Fault | None] = lambda _call: None
    calls: list[Call] = field(default_factory=list)
    _answers: dict[str, tuple[str, int, dict[str, Any], float]] = field(default_factory=dict)

    name = "fake"

    def __post_init__(self) -> None:
        super().__init__()

    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None, **_: Any
    ) -> tuple[str, int, Mapping[str, str]]:
        call = _read(method, url, headers or {}, post_data)
        self.calls.append(call)
        assert call.headers["Stripe-Version"] == "2026-10-28.endive"
        assert "X-Stripe-Client-Telemetry" not in call.headers
        fault = self.next_fault(call)
        if fault is Fault.TIMEOUT_BEFORE:
            raise stripe.APIConnectionError("timed out", should_retry=True)
        if fault is Fault.RATE_LIMIT:
            return _error(429, "rate_limit", "too many requests", {"retry-after": "7"})
        if fault is Fault.CONFLICT:
            return _error(409, "idempotency_key_in_use", "another request with this key is at work")
        status, body = self._answer(call, fault)
        if fault in (Fault.TIMEOUT_AFTER, Fault.RESET_AFTER):
            raise stripe.APIConnectionError(str(fault), should_retry=True)
        return json.dumps(body), status, {"request-id": f"req_{len(self.calls)}"}

    def _answer(self, call: Call, fault: Fault | None) -> tuple[int, dict[str, Any]]:
        fingerprint = json.dumps([call.method, call.path, call.params], sort_keys=True)
        known = self._answers.get(call.key or "")
        if known is not None and self.state.now - known[3] <= KEY_LIFE_S:
            if known[0] != fingerprint:
                return 400, _body(
                    "Keys for idempotent requests can only be used with the same parameters",
                    "idempotency_error",
                )
            return known[1], known[2]
        status, body = self._execute(call, fault)
        if call.key is not None and call.method == "POST":
            self._answers[call.key] = (fingerprint, status, body, self.state.now)
        return status, body

    def _execute(self, call: Call, fault: Fault | None) -> tuple[int, dict[str, Any]]:
        if fault is Fault.ERROR_BEFORE:
            return 500, _body("something went wrong", "api_error")
        try:
            status, body = 200, self.state.handle(call.method, call.path, dict(call.params))
        except Refused as refused:
            status, body = refused.status, _body(str(refused), refused.type)
        if fault is Fault.ERROR_AFTER:
            return 500, _body("something went wrong", "api_error")
        return status, body

    def close(self) -> None:
        pass


def _read(method: str, url: str, headers: Mapping[str, str], post_data: Any) -> Call:
    parts = urlsplit(url)
    raw = parts.query if method in ("get", "delete") else str(post_data or "")
    params: dict[str, Any] = {}
    for name, value in parse_qsl(raw, keep_blank_values=True):
        _set(params, name.replace("]", "").split("["), value)
    return Call(
        method.upper(), parts.path, params, headers.get("Idempotency-Key"), dict(headers), url + " " + raw
    )


def _set(target: dict[str, Any], path: list[str], value: str) -> None:
    for name in path[:-1]:
        target = target.setdefault(name, {})
    target[path[-1]] = value


def _body(message: str, type_: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"type": type_, "message": message}}


def _error(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> tuple[str, int, Mapping[str, str]]:
    return (
        json.dumps({"error": {"type": "invalid_request_error", "code": code, "message": message}}),
        status,
        headers or {},
    )
