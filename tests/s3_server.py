"""An S3 server on loopback (moto's, a process of its own), and a door before it that can have faults."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions

from storage.s3_store import S3Address, S3ObjectStore
from tests.ports import free_port
from tests.tls_files import Identity

REGION = "us-east-1"


@dataclass(frozen=True)
class S3Server:
    """A running server without any access control, until `demand_credentials`."""

    url: str
    authority: str | None = None

    def client(self, service: str = "s3") -> Any:
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            verify=self.authority,
        )

    def make_bucket(self, name: str) -> str:
        self.client().create_bucket(Bucket=name)
        return name

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [one["Key"] for page in pages for one in page.get("Contents", [])]

    def make_user(self, name: str, policy: str | None) -> tuple[str, str]:
        """Access key and secret of a user who may do what the policy says."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        if policy is not None:
            iam.put_user_policy(UserName=name, PolicyName="policy", PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def demand_credentials(self, wanted: bool = True) -> None:
        """Whether requests from now on are checked: who signs them, and what that user may do."""
        count = b"0" if wanted else b"1000000000"
        plain = {"Content-Type": "application/octet-stream"}  # of a form the server would see no data
        request = urllib.request.Request(f"{self.url}/moto-api/reset-auth", count, plain)
        urllib.request.urlopen(request, timeout=10).read()


@contextlib.contextmanager
def s3_server(
    tls: Identity | None = None, authority: Path | None = None, host: str = "127.0.0.1"
) -> Iterator[S3Server]:
    """tls: its certificate; then authority: who signed that, as a file."""
    port = free_port()
    secured = ["-s", "-c", str(tls.certificate), "-k", str(tls.key)] if tls else []
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", host, "-p", str(port), *secured],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": ""},
    )
    server = S3Server(f"{'https' if tls else 'http'}://{host}:{port}", str(authority) if authority else None)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                server.client().list_buckets()
                break
            except (OSError, botocore.exceptions.BotoCoreError):
                assert process.poll() is None, "the S3 server ended"
                assert time.monotonic() < deadline, "the S3 server did not start"
                time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(10)


class FaultyDoor:
    """A TCP door on loopback before a server. `fault` says what happens to what comes by it from now on.

    None: all passes. "refuse": no connection is taken. "hang": taken and never answered. "cut": closed in the middle
    of a request. A number: seconds that each answer is late. Bytes: the whole answer to each request.
    """

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._target = (host, int(port))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.fault: str | float | bytes | None = None
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self._ended = False
        self._listen()

    def set(self, fault: str | float | bytes | None) -> None:
        """From now on; connections that are open are cut, so that none goes on as before."""
        self.fault = fault
        if fault == "refuse" and self._listener is not None:
            # A thread in accept holds the port until it is woken.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        elif fault != "refuse" and self._listener is None:
            self._listen()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.set("refuse")

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        self._open.add(near)
        fault = self.fault
        with near, contextlib.suppress(OSError):
            if fault == "hang":
                while near.recv(65536):
                    pass
            elif fault == "cut":
                near.recv(65536)
            elif isinstance(fault, bytes):
                near.recv(65536)
                near.sendall(fault)
                near.shutdown(socket.SHUT_WR)
                while near.recv(65536):
                    pass
            else:
                self._pass(near, float(fault or 0))
        self._open.discard(near)

    def _pass(self, near: socket.socket, late_s: float) -> None:
        with socket.create_connection(self._target) as far:
            self._open.add(far)
            back = threading.Thread(target=_copy, args=(far, near, late_s), daemon=True)
            back.start()
            _copy(near, far, 0.0)
            back.join()
            self._open.discard(far)


def _copy(source: socket.socket, target: socket.socket, late_s: float) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            time.sleep(late_s)
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@dataclass(frozen=True)
class Bucket:
    """A bucket of its own, reached by a door that may have faults."""

    server: S3Server
    name: str
    door: FaultyDoor

    def store(self, name: str = "", **limits: float) -> S3ObjectStore:
        quick = {"connect_s": 0.8, "request_s": 0.8, "retry_s": 0.4} | limits
        return S3ObjectStore(S3Address(name or self.name, "hospital/a", self.door.url, REGION, **quick))


def http_answer(status: str, code: str = "") -> bytes:
    """A whole answer with an S3 error in it."""
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode() if code else b""
    lines = [
        f"HTTP/1.1 {status}",
        "Content-Type: application/xml",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
