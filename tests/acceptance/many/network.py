"""A network for several machines on one: a namespace for each node, joined by a bridge; loopback where that is not
permitted. Cutting a node off is taking its interface down."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Network:
    """host: our own address in it. is_apart: each node has an address of its own; else all share the loopback."""

    host: str = "127.0.0.1"
    is_apart: bool = False
    _prefix: str = ""
    _names: list[str] = field(default_factory=list)

    @classmethod
    @contextmanager
    def made(cls) -> Iterator[Network]:
        """By namespaces if this user may make them, else the loopback."""
        number = os.getpid() % 250
        made = cls(f"10.213.{number}.1", True, f"rm{os.getpid() % 100_000}")
        try:
            made._ip("link", "add", made._bridge, "type", "bridge")
        except (subprocess.CalledProcessError, FileNotFoundError):
            yield cls()
            return
        try:
            made._ip("addr", "add", f"{made.host}/24", "dev", made._bridge)
            made._ip("link", "set", made._bridge, "up")
            yield made
        finally:
            for name in made._names:
                with contextlib.suppress(subprocess.CalledProcessError):
                    made._ip("netns", "del", name)
            made._ip("link", "del", made._bridge)

    def join(self) -> tuple[str, list[str]]:
        """A new machine: its address, and what to put before a command so that it runs there."""
        if not self.is_apart:
            return self.host, []
        number = len(self._names) + 2
        name, outside = f"{self._prefix}n{number}", f"{self._prefix}v{number}"
        address = self.host.rsplit(".", 1)[0] + f".{number}"
        self._ip("netns", "add", name)
        self._names.append(name)
        self._ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", name)
        self._ip("link", "set", outside, "master", self._bridge, "up")
        self._ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        self._ip("-n", name, "link", "set", "eth0", "up")
        self._ip("-n", name, "link", "set", "lo", "up")
        return address, ["ip", "netns", "exec", name]

    def cut_off(self, address: str, cut: bool) -> None:
        """Take the node's interface down or up again. Only where nodes are apart."""
        name = f"{self._prefix}n{address.rsplit('.', 1)[1]}"
        self._ip("-n", name, "link", "set", "eth0", "down" if cut else "up")

    @property
    def _bridge(self) -> str:
        return f"{self._prefix}b"

    @staticmethod
    def _ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)
