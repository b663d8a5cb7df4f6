"""What can go wrong with an upload beside what `errors` tells of instances."""

from __future__ import annotations

from dicom_gateway.errors import BodyNotTaken, InstanceRefused


class FormIncomplete(BodyNotTaken):
    """The form of an upload does not name its source before its files."""


class UploadTooLarge(BodyNotTaken):
    """An archive is larger than is taken, or there is no room for it on the disk."""

    http_status = 413
    failure_reason = 0x0213


class ArchiveUnreadable(InstanceRefused):
    """A ZIP archive, or a file in it, is damaged, encrypted, or compressed in another way than by deflate."""


class ArchiveTooLarge(InstanceRefused):
    """A ZIP archive holds more files or bytes than are taken, or a file in it is packed suspiciously tight."""
