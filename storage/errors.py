"""What can be wrong with an object store. All are `OSError`s: whoever copes with a full disk copes with these.

No message carries a key: what is named after a study stays out of logs.
"""

from __future__ import annotations


class ObjectStoreError(OSError):
    """The object store could not do what was asked."""


class StoreAddressInvalid(ObjectStoreError):
    """The address of the object store cannot be used; the message says why."""


class StoreNotReady(ObjectStoreError):
    """The object store cannot be used now. It passes by itself or an operator mends it; nothing is lost meanwhile."""


class StoreUnreachable(StoreNotReady):
    """The object store does not answer in time: look at its address, at its own state and at the network between."""


class CredentialsRefused(StoreNotReady):
    """The object store does not know our credentials: give a valid access key and secret, and look at the clock."""


class PermissionMissing(StoreNotReady):
    """The object store knows us and forbids it: allow list, get, put and delete below the bucket's prefix."""


class BucketMissing(StoreNotReady):
    """The object store has no bucket of this name: make it, or mend the address or the region."""


class UploadUnknown(StoreNotReady):
    """The object store has lost an upload in parts, or ended it; it is begun anew."""


class StoreFull(StoreNotReady):
    """The object store has no room left: raise its quota or add disks."""


class StoreRefused(StoreNotReady):
    """The object store refuses the request; the message has its answer."""


class ObjectMissing(ObjectStoreError, FileNotFoundError):
    """The object store has no object under this key."""


class ObjectDamaged(ObjectStoreError):
    """An object is not what was stored: its digest differs. Bring it back from a backup."""
