"""The limits of the DICOM acceptor, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

KIB, MIB, GIB = 1024, 1024**2, 1024**3


_MAY_BE_ZERO = ("port", "free_bytes_min", "free_bytes_for_associations", "reserve_bytes")


@dataclass(frozen=True)
class AcceptorSettings:
    """Where the acceptor listens, where it stores, and what it refuses.

    port: 0 lets the system choose one (`Acceptor.listen` returns it).
    pdu_length_max: the longest P-DATA-TF body we announce and read; also the memory of an association.
    association_request_bytes_max: 128 contexts with a dozen transfer syntaxes are about 60 KiB.
    pdu_deadline_s: from the first byte of a PDU to its last.
    acse_timeout_s: from the connection to the first byte of A-ASSOCIATE-RQ.
    idle_timeout_s: between messages; PACS keep associations open between studies.
    message_deadline_s: from the first byte of a command to the last of its data set.
    message_bytes_max: of one data set; the largest multi-frame objects stay under it.
    associations_max, associations_per_host_max: open connections; further ones are rejected as transient.
    free_bytes_for_associations: with less free space on the store's disk, new associations are rejected as transient,
        so that those in progress still find room.
    reserve_bytes: of a file that is removed when the disk is full all the same; 0 for none.
    free_bytes_min: with less free space on the store's disk, instances are refused (A700H).
    """

    storage_root: Path
    host: str = "127.0.0.1"
    port: int = 11112
    pdu_length_max: int = 256 * KIB
    association_request_bytes_max: int = 256 * KIB
    pdu_deadline_s: float = 30.0
    acse_timeout_s: float = 10.0
    idle_timeout_s: float = 300.0
    message_deadline_s: float = 3600.0
    message_bytes_max: int = 2 * GIB
    associations_max: int = 100
    associations_per_host_max: int = 40
    free_bytes_min: int = 512 * MIB
    free_bytes_for_associations: int = 1 * GIB
    reserve_bytes: int = 64 * MIB

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float) and value <= 0 and field.name not in _MAY_BE_ZERO:
                raise ValueError(f"{field.name} must be positive, not {value}")
        if self.pdu_length_max < 4 * KIB:
            raise ValueError("pdu_length_max below 4 KiB is not usable")
