"""The connection to a Triton server: where it is, what its errors mean to us."""

from __future__ import annotations

import importlib
import ipaddress
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from inference.errors import (
    EndpointFailed,
    EndpointUnavailable,
    EngineNotPossible,
    InferenceError,
    ModelNotServed,
    RunCancelled,
    RunTimedOut,
)

# gRPC's own pauses between attempts to connect grow to two minutes, in which a server that is back again goes
# unnoticed. No keep-alive pings: a server closes connections that ping through a long computation.
_CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", 1 << 30),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # One connection for each client: what one closes another still needs.
    ("grpc.use_local_subchannel_pool", 1),
]


@dataclass(frozen=True)
class TritonAddress:
    """Where a server listens. authorities: PEM file; certificate and key: ours, where the server asks for one."""

    host: str
    port: int
    is_tls: bool = False
    authorities: str = ""
    certificate: str = ""
    key: str = ""

    @classmethod
    def parse(cls, url: str, *, authorities: str = "", certificate: str = "", key: str = "") -> TritonAddress:
        """From grpc://host:port or, with TLS, grpcs://host:port."""
        parts = urlsplit(url)
        port = None
        with suppress(ValueError):
            port = parts.port
        if (
            parts.scheme not in ("grpc", "grpcs")
            or not parts.hostname
            or not port
            or parts.path not in ("", "/")
        ):
            raise EngineNotPossible(
                "engine", f"{url!r} is no address of a Triton server: grpc://host:8001 is one"
            )
        return cls(parts.hostname, port, parts.scheme == "grpcs", authorities, certificate, key)

    @property
    def is_this_host(self) -> bool:
        """Whether the name alone says that the server is on this machine."""
        if self.host == "localhost":
            return True
        with suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def load_tritonclient() -> Any:
    """The module `tritonclient.grpc`, or a sentence that says how it is installed."""
    try:
        return importlib.import_module("tritonclient.grpc")
    except ImportError as error:
        raise EngineNotPossible("engine", f"the engine triton needs the extra `triton` ({error})") from error


def connect(address: TritonAddress) -> Any:
    """A client; nothing is sent yet."""
    try:
        return load_tritonclient().InferenceServerClient(
            str(address),
            ssl=address.is_tls,
            root_certificates=address.authorities or None,
            certificate_chain=address.certificate or None,
            private_key=address.key or None,
            channel_args=_CHANNEL,
        )
    except OSError as error:
        raise EngineNotPossible(
            "engine", f"a TLS file of the Triton client cannot be read: {error}"
        ) from error


# What the servers from 2.51 on say. The status alone does not tell a full queue from a missing server.
_NO_ROOM = re.compile("Exceeds maximum queue size|Request timeout expired")
_NOT_LOADED = re.compile("has no available versions|is not ready")
_NOT_SERVED = re.compile("unknown model|is not found|failed to poll")
_BACKEND_DEAD = re.compile("is not healthy|Stub process")


def translated(error: Any, model: str) -> InferenceError:
    """Our fact for an `InferenceServerException`."""
    status = str(error.status() or "").rpartition(".")[2]
    words = " ".join(str(error.message() or "no reason given").split())[:300]
    if status == "DEADLINE_EXCEEDED":
        return RunTimedOut(f"Triton did not answer in time for {model}")
    if status == "CANCELLED":
        return RunCancelled(model)
    if _NO_ROOM.search(words):
        return EndpointUnavailable(f"Triton has no room for {model} now: {words}")
    if _NOT_LOADED.search(words):
        return EndpointUnavailable(f"Triton has not loaded {model} (any more): {words}")
    if _NOT_SERVED.search(words):
        return ModelNotServed(model, words)
    if status == "UNAVAILABLE":
        return EndpointUnavailable(f"Triton cannot be reached: {words}")
    if _BACKEND_DEAD.search(words):
        return EndpointUnavailable(f"Triton's process for {model} has died: {words}")
    return EndpointFailed(f"Triton could not run {model}: {words}")
