"""One HTTP request to an address that somebody typed in: nothing but that address is reached, and no answer is endless.

The host is resolved once, its addresses are checked, and the connection goes to the address that was checked: a name
that means another machine a moment later (DNS rebinding) gains nothing. Redirects are not followed, proxies of the
environment not used. The whole exchange has one deadline, also for a server that sends a byte now and then.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpcore

from dicom_gateway.deliver_stow import retry_after_s
from pipeline.errors import NotReached

_CONNECT_S_MAX = 10.0
_PIECE_BYTES = 64 * 1024
# Not the moment's fault: somebody has to change something first, here or there.
_REFUSALS = frozenset({400, 401, 403, 404, 405, 406, 409, 410, 411, 412, 413, 414, 415, 421, 422, 426, 501})


@dataclass(frozen=True)
class HttpAnswer:
    """status: of the answer. body: as far as it was wanted."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def request(
    method: str,
    url: str,
    headers: Mapping[str, str],
    content: bytes = b"",
    *,
    private_hosts: Iterable[str] = (),
    tls: ssl.SSLContext | None = None,
    timeout_s: float,
    answer_bytes_max: int,
) -> HttpAnswer:
    """Send one request. Raises `NotReached` with a sentence.

    private_hosts: those that may have private, loopback or link-local addresses. timeout_s: for the whole exchange.
    answer_bytes_max: 0 where only the status is wanted: the body is not read.
    """
    backend = _PinnedBackend(frozenset(host.casefold() for host in private_hosts), timeout_s)
    try:
        with (
            httpcore.ConnectionPool(ssl_context=tls, network_backend=backend) as pool,
            pool.stream(
                method, url, headers=[("Host", urlsplit(url).netloc), *headers.items()], content=content
            ) as response,
        ):
            known = {
                name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers
            }
            if not answer_bytes_max:
                return HttpAnswer(response.status, known, b"")
            if known.get("content-encoding", "identity").lower() != "identity":
                raise NotReached("the server compresses its answer")
            body = bytearray()
            for part in response.iter_stream():
                body += part
                if len(body) > answer_bytes_max:
                    raise NotReached("the server sends more than we take")
            return HttpAnswer(response.status, known, bytes(body))
    except httpcore.TimeoutException:
        raise NotReached("the server did not answer in time") from None
    except httpcore.ConnectError as error:
        is_certificate = "CERTIFICATE" in str(error).upper()
        words = "the server's certificate is not trusted" if is_certificate else "no connection to the server"
        raise NotReached(words) from None
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
        # Its own words may quote what the server sent.
        raise NotReached(f"the transfer failed: {type(error).__name__}") from None


def require_success(answer: HttpAnswer, words: str = "") -> None:
    """Raise `NotReached` unless the status is 2xx. words: what the server said, if it is known."""
    if 200 <= answer.status < 300:
        return
    if 300 <= answer.status < 400:
        raise NotReached("the server redirects; another address is not followed", is_refusal=True)
    said = f": {words}" if words else ""
    raise NotReached(
        f"the server answers HTTP {answer.status}{said}",
        is_refusal=answer.status in _REFUSALS,
        retry_after_s=retry_after_s(answer.headers.get("retry-after", "")),
    )


def checked_addresses(host: str, port: int, private_hosts: frozenset[str]) -> list[str]:
    """The addresses of a host, each allowed. Raises `NotReached` when it has none, or one that is not allowed."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NotReached("the name of the server is not known") from None
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    if host.casefold() not in private_hosts:
        for address in addresses:
            if not _is_public(address):
                raise NotReached(
                    f"{host} has an address in a private network; name it as a private host of this destination"
                )
    return addresses


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        # An IPv4 address in IPv6 clothes: mapped, 6to4, Teredo, NAT64.
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if inner is None and address in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return bool(inner.is_global and not inner.is_multicast)
    return address.is_global and not address.is_multicast


class _PinnedBackend(httpcore.NetworkBackend):
    """Connects to checked addresses only, before one deadline."""

    def __init__(self, private_hosts: frozenset[str], timeout_s: float) -> None:
        self._private_hosts = private_hosts
        self._ends_at = time.monotonic() + timeout_s
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002  ours is what is left of all
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        refusal: Exception | None = None
        for address in checked_addresses(host, port, self._private_hosts):
            left_s = min(_left_s(self._ends_at), _CONNECT_S_MAX)
            try:
                stream = self._inner.connect_tcp(address, port, left_s, local_address, socket_options)
                return _HurriedStream(stream, self._ends_at)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                refusal = error
        raise refusal or httpcore.ConnectError("no address")


class _HurriedStream(httpcore.NetworkStream):
    """Every read and write has what is left of the time."""

    def __init__(self, inner: httpcore.NetworkStream, ends_at: float) -> None:
        self._inner = inner
        self._ends_at = ends_at

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._inner.read(max_bytes, _left_s(self._ends_at))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        for start in range(0, len(buffer), _PIECE_BYTES):
            self._inner.write(buffer[start : start + _PIECE_BYTES], _left_s(self._ends_at))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        inner = self._inner.start_tls(ssl_context, server_hostname, _left_s(self._ends_at))
        return _HurriedStream(inner, self._ends_at)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _left_s(ends_at: float) -> float:
    left_s = ends_at - time.monotonic()
    if left_s <= 0:
        raise httpcore.ReadTimeout
    return left_s
