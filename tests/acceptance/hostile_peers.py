"""Peers of many addresses that attack a running server, and what must be the same after them."""

from __future__ import annotations

import contextlib
import socket
import struct

from tests.acceptance.test_receive_kill import gateway_processes
from tests.dicom_gateway.malformed_pdus import CONTEXTS
from tests.raw_peer import RawPeer
from tests.server_process import RunningServer


def assail(server: RunningServer, host: int, is_associated: bool, data: bytes) -> None:
    """One of the malformed exchanges, a length of 4 GiB or 65,622 bytes of empty items, from a host of its own."""
    with contextlib.suppress(ConnectionError), RawPeer(server.dicom_port, source=f"127.0.0.{host}") as peer:
        if host % 10 == 0:
            peer.send(struct.pack(">BxI", 1, 0xFFFFFFFF))
        elif host % 10 == 5:
            peer.send(RawPeer.pdu(1, RawPeer.request(calling="PACS")[6:] + RawPeer.item(0x99, b"") * 16_000))
        elif is_associated:
            peer.associate(*CONTEXTS, calling="PACS")
            peer.send(data)
        else:
            peer.send(data)
        peer.socket.shutdown(socket.SHUT_WR)
        while peer.read_pdu()[0] != 0:
            pass


def gateway_figures(server: RunningServer) -> tuple[int, int]:
    """Threads and resident bytes of all processes of the gateway."""
    processes = gateway_processes(server)
    return sum(one.num_threads() for one in processes), sum(one.memory_info().rss for one in processes)


def billing_texts(server: RunningServer) -> str:
    """Every row of every table of billing."""
    tables = server.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'billing'")
    rows = [
        row["said"]
        for table in tables
        for row in server.rows(f"SELECT t::text AS said FROM billing.{table['tablename']} t")
    ]
    return "\n".join(rows)
