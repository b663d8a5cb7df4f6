"""Authorities and certificates as PEM files, made anew for each test session."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Identity:
    """A certificate and its key, each in a file of its own."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority that writes what it signs into a folder."""

    def __init__(self, folder: Path, key_type: trustme.KeyType = trustme.KeyType.ECDSA) -> None:
        self._folder = folder
        self._key_type = key_type
        self._authority = trustme.CA(key_type=key_type)
        self.path = folder / "authority.pem"
        folder.mkdir(parents=True, exist_ok=True)
        self._authority.cert_pem.write_to_path(self.path)

    def sign(self, *names: str, common_name: str | None = None, file: str = "") -> Identity:
        """A certificate for host names or addresses; `file` names its files, else the first name does."""
        issued = self._authority.issue_cert(*names, common_name=common_name, key_type=self._key_type)
        stem = file or names[0]
        made = Identity(self._folder / f"{stem}.pem", self._folder / f"{stem}-key.pem")
        made.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(made.key)
        return made
