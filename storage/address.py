"""An object store from its address, as an operator writes it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from storage.errors import StoreAddressInvalid
from storage.folder_store import FolderStore
from storage.object_store import ObjectStore, check_key


def open_store(
    address: str, *, endpoint: str = "", region: str = "", authorities: Path | None = None
) -> ObjectStore:
    """`s3://bucket/prefix`, or `file:///folder` that every node mounts. Asks nobody yet.

    Raises `StoreAddressInvalid`.
    """
    parts = urlsplit(address)
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/") and len(parts.path) > 1:
        return FolderStore(Path(parts.path))
    prefix = parts.path.strip("/")
    if parts.scheme != "s3" or not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc:
        raise StoreAddressInvalid("give s3://bucket or s3://bucket/prefix, or file:///folder")
    if prefix:
        check_key(prefix)
    if endpoint and urlsplit(endpoint).scheme not in ("http", "https"):
        raise StoreAddressInvalid("an endpoint is https://host or http://host:port")
    # Not at the top: a process on a plain folder carries no S3 client.
    from storage.s3_store import S3Address, S3ObjectStore

    return S3ObjectStore(S3Address(parts.netloc, prefix, endpoint, region, authorities))
