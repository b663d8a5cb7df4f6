"""An object store that speaks S3: Amazon's, MinIO, Ceph, and what else does."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import blake3
import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from storage.errors import (
    BucketMissing,
    CredentialsRefused,
    ObjectDamaged,
    ObjectMissing,
    ObjectStoreError,
    PermissionMissing,
    StoreAddressInvalid,
    StoreFull,
    StoreRefused,
    StoreUnreachable,
    UploadUnknown,
)
from storage.object_store import StoredObject, check_key
from storage.s3_credentials import credentials_of_file

if TYPE_CHECKING:
    from obstore import ObjectMeta

# What one request carries: an object up to this size goes in one, a larger one in parts. So a request is short
# enough for a time limit of its own, and memory is bounded by a few parts for each upload.
PART_BYTES = 8 << 20
_PARTS_AT_ONCE = 4
_DELETE_AT_ONCE = 500
# The object's digest travels and lies with it.
_DIGEST = "blake3"
# Senders wait about half a minute for an answer: better A700H than none. A request and its repetitions end before.
_USUAL_CONNECT_S, _USUAL_REQUEST_S, _USUAL_RETRY_S = 3.0, 10.0, 10.0
_RETRIES_MAX = 4

_KIND_OF: dict[str, type[ObjectStoreError]] = {
    "NoSuchBucket": BucketMissing,
    "NoSuchUpload": UploadUnknown,
    "AccessDenied": PermissionMissing,
    "AllAccessDisabled": PermissionMissing,
    "InvalidAccessKeyId": CredentialsRefused,
    "SignatureDoesNotMatch": CredentialsRefused,
    "ExpiredToken": CredentialsRefused,
    "InvalidToken": CredentialsRefused,
    "RequestTimeTooSkewed": CredentialsRefused,
    "QuotaExceeded": StoreFull,
    "XMinioStorageFull": StoreFull,
    "XMinioAdminBucketQuotaExceeded": StoreFull,
    "InsufficientCapacity": StoreFull,
}
# Where the client asks Amazon's machines for their own credentials, when it was given none.
_MACHINE = "/latest/api/token"
_UNREACHABLE = re.compile(
    r"error sending request|HTTP error|status code: 5\d\d|timed? ?out|SlowDown", re.IGNORECASE
)


@dataclass(frozen=True)
class S3Address:
    """Where the bucket is.

    endpoint: https://host of a store that is not Amazon's; empty = Amazon's of the region.
    authorities: PEM file of who may have signed its certificate; None = the system's.
    """

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    authorities: Path | None = None
    connect_s: float = _USUAL_CONNECT_S
    request_s: float = _USUAL_REQUEST_S
    retry_s: float = _USUAL_RETRY_S


class S3ObjectStore:
    """Objects below a prefix of a bucket. Credentials come by the usual AWS variables or the file they name."""

    def __init__(self, address: S3Address) -> None:
        self.address = address
        self._store = _client(address)

    def put(self, key: str, path: Path, blake3: str) -> str:
        try:
            with _told():
                done = obstore.put(
                    self._store,
                    check_key(key),
                    path,
                    attributes={_DIGEST: blake3} if blake3 else None,
                    use_multipart=path.stat().st_size > PART_BYTES,
                    chunk_size=PART_BYTES,
                    max_concurrency=_PARTS_AT_ONCE,
                )
        except UploadUnknown:
            # The answer to “that was the last part” was lost, and the repeated request found the upload done.
            found = self.head(key)
            if found is None or not blake3 or found.blake3 != blake3:
                raise
            return found.version
        return done["e_tag"] or ""

    def get(self, key: str, path: Path) -> StoredObject:
        digest = blake3.blake3()
        with path.open("xb") as file:
            found, chunks = self._read(key)
            for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)
        if found.blake3 and digest.hexdigest() != found.blake3:
            raise ObjectDamaged("an object of the store does not have the digest that it was put with")
        return found

    def head(self, key: str) -> StoredObject | None:
        try:
            with _told():
                result = obstore.get(self._store, check_key(key), options={"head": True})
        except ObjectMissing:
            # An answer to HEAD has no body that says whether it is the bucket that is missing; one to a listing has.
            with _told():
                next(iter(obstore.list(self._store, check_key(key), chunk_size=1)), None)
            return None
        return _stored(result.meta, result.attributes)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        with _told():
            for chunk in obstore.list(self._store, check_key(prefix) if prefix else None, chunk_size=1000):
                for meta in chunk:
                    yield _stored(meta, {})

    def delete(self, keys: Iterable[str]) -> None:
        wanted = [check_key(key) for key in keys]
        for start in range(0, len(wanted), _DELETE_AT_ONCE):
            with _told(), contextlib.suppress(FileNotFoundError):
                obstore.delete(self._store, wanted[start : start + _DELETE_AT_ONCE])

    def digest(self, key: str) -> str:
        digest = blake3.blake3()
        for chunk in self._read(key)[1]:
            digest.update(chunk)
        return digest.hexdigest()

    def _read(self, key: str) -> tuple[StoredObject, Iterator[bytes]]:
        """The object and its bytes, part by part; each part is a request with its own time limit and repetitions."""
        with _told():
            result = obstore.get(self._store, check_key(key))
            found = _stored(result.meta, result.attributes)
            whole = bytes(result.bytes()) if found.size_bytes <= PART_BYTES else None
            del result  # of a large one nothing more is read by this request
        return found, iter((whole,)) if whole is not None else self._parts(key, found)

    def _parts(self, key: str, found: StoredObject) -> Iterator[bytes]:
        for start in range(0, found.size_bytes, PART_BYTES):
            end = min(start + PART_BYTES, found.size_bytes)
            with _told():
                # If-Match: never a part of one object and a part of its successor.
                options: Any = {"range": (start, end), "if_match": found.version}
                yield bytes(obstore.get(self._store, key, options=options).bytes())


def _client(address: S3Address) -> S3Store:
    config: dict[str, Any] = {}
    if address.endpoint:
        config["endpoint"] = address.endpoint
    if address.region:
        config["region"] = address.region
    options: dict[str, Any] = {
        "allow_http": address.endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=address.connect_s),
        "timeout": timedelta(seconds=address.request_s),
        "user_agent": "radmeter",
    }
    try:
        if address.authorities is not None:
            options["root_certificate"] = address.authorities.read_bytes()
        return S3Store(
            address.bucket,
            prefix=address.prefix or None,
            config=config,  # type: ignore[arg-type]
            client_options=options,  # type: ignore[arg-type]
            retry_config={
                "max_retries": _RETRIES_MAX,
                "retry_timeout": timedelta(seconds=address.retry_s),
                "backoff": {
                    "init_backoff": timedelta(seconds=0.1),
                    "max_backoff": timedelta(seconds=3),
                    "base": 2,
                },
            },
            credential_provider=credentials_of_file(),
        )
    except (BaseError, ValueError, OSError) as error:
        raise StoreAddressInvalid(_first_line(error)) from None


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """The client's errors as facts of ours, without the address and the key that its messages carry."""
    try:
        yield
    except ObjectStoreError:
        raise
    except (BaseError, FileNotFoundError, ValueError, OSError) as error:
        raise _as_fact(error, str(error)) from None


def _as_fact(error: Exception, text: str) -> ObjectStoreError:
    found = re.search(r"<Code>(\w+)</Code>", text)
    code = found.group(1) if found else ""
    status = re.search(r"status code: (\d\d\d)", text)
    said = code or (f"HTTP {status.group(1)}" if status else _kind(text))
    if code in _KIND_OF:
        kind = _KIND_OF[code]
    elif isinstance(error, FileNotFoundError):
        kind = ObjectMissing
    elif _MACHINE in text:
        kind, said = CredentialsRefused, "none are given, and this machine has none"
    elif isinstance(error, UnauthenticatedError) or "credential" in text.lower():
        kind = CredentialsRefused
    elif isinstance(error, PermissionDeniedError):
        kind = PermissionMissing
    elif status and status.group(1) == "507":
        kind = StoreFull
    else:
        kind = StoreUnreachable if _UNREACHABLE.search(text) else StoreRefused
    sentence = " ".join((kind.__doc__ or "").split())
    return kind(f"{sentence} ({said})" if said else sentence)


def _kind(text: str) -> str:
    """What the connection failed of, from the client's own account of it."""
    for words, kind in (
        ("ConnectionRefused", "connection refused"),
        ("dns error", "name not known"),
        ("TimedOut", "no answer in time"),
        ("InvalidCertificate", "its certificate is not believed"),
    ):
        if words in text:
            return kind
    return ""


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]


def _stored(meta: ObjectMeta, attributes: Any) -> StoredObject:
    modified_at: datetime = meta["last_modified"]
    return StoredObject(
        meta["path"], meta["size"], modified_at, meta["e_tag"] or "", attributes.get(_DIGEST, "")
    )
