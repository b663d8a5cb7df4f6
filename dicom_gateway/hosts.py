"""Which addresses a peer may come from: addresses, networks and names, compared when it comes."""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
import time
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from dicom_gateway.errors import HostEntryInvalid

_NAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_-]+)*\.?", re.ASCII
)
_RESOLVED_FOR_S = 60.0
_UNRESOLVED_FOR_S = 5.0
_NAMES_MAX = 1000

Address = IPv4Address | IPv6Address


def canonical_entry(text: str) -> str:
    """One entry of a peer's list of hosts as it is stored. Raises `HostEntryInvalid`."""
    bare = text.strip().lower()
    network = _network(bare)
    if network is not None:
        return str(network.network_address) if network.num_addresses == 1 else str(network)
    # Digits and dots that are no address would be asked of a name server for ever.
    if _NAME.fullmatch(bare) is None or re.fullmatch(r"[0-9./]+", bare):
        raise HostEntryInvalid(text)
    return bare


class HostBook:
    """Compares addresses with entries; remembers what a name stood for a minute. Called from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._resolved: dict[str, tuple[float, frozenset[Address]]] = {}

    def is_one_of(self, remote_host: str, entries: Iterable[str]) -> bool:
        """Whether the address is, lies in, or is what the name of, one of the entries says."""
        remote = _plain(ipaddress.ip_address(remote_host.partition("%")[0]))
        names = []
        for entry in entries:
            network = _network(entry)
            if network is None:
                names.append(entry)
            elif remote in network:
                return True
        return any(remote in self._addresses_of(name) for name in names)

    def _addresses_of(self, name: str) -> frozenset[Address]:
        with self._lock:
            until, addresses = self._resolved.get(name, (0.0, frozenset()))
        if time.monotonic() < until:
            return addresses
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
            addresses = frozenset(
                _plain(ipaddress.ip_address(str(one[4][0]).partition("%")[0])) for one in found
            )
            lasts_s = _RESOLVED_FOR_S
        except (OSError, UnicodeError):
            addresses, lasts_s = frozenset(), _UNRESOLVED_FOR_S
        with self._lock:
            if len(self._resolved) >= _NAMES_MAX:
                self._resolved.clear()
            self._resolved[name] = (time.monotonic() + lasts_s, addresses)
        return addresses


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _plain(address: Address) -> Address:
    """IPv4 in IPv6 clothes, as a socket for both shows it, is IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
