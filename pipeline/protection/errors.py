"""What can go wrong with keys and with what they seal."""

from __future__ import annotations

from uuid import UUID

from pipeline.errors import PipelineError


class ProtectionError(PipelineError):
    """Keys or sealed data are not as they must be."""


class MasterKeyUnusable(ProtectionError):
    """A file of RADMETER_MASTER_KEYS is not a master key; the sentence says why."""

    def __init__(self, path: object, sentence: str) -> None:
        super().__init__(f"master key {path}: {sentence}")


class MasterKeyMissing(ProtectionError):
    """What is to be opened was sealed under a master key that this process does not have."""

    def __init__(self, master_id: str) -> None:
        super().__init__(
            f"sealed under master key {master_id}, which is not among RADMETER_MASTER_KEYS: add its file again"
        )
        self.master_id = master_id


class SealedWithoutKeys(ProtectionError):
    """What is to be opened is sealed, and this process has no master keys at all."""

    def __init__(self) -> None:
        super().__init__("this is sealed, and RADMETER_MASTER_KEYS names no master key: set it as before")


class WrappedKeyDamaged(ProtectionError):
    """A wrapped key does not open: its row was changed, or it is another key's."""


class KeyShredded(ProtectionError):
    """The key was shredded when its data were erased: nobody can read them any more."""

    def __init__(self, key_id: UUID) -> None:
        super().__init__("erased: the key of these data was shredded")
        self.key_id = key_id


class DataKeyUnknown(ProtectionError):
    """No data key of this tenant has the id that a sealed object names."""

    def __init__(self, key_id: UUID) -> None:
        super().__init__(
            f"no data key {key_id} in the database: the object is another installation's, or the database is older"
        )
        self.key_id = key_id


class SealBroken(ProtectionError):
    """A sealed object was changed, cut off, put together anew or put in another's place; or it is not sealed."""


class ErasureRefused(ProtectionError):
    """What is to be erased must not or cannot be erased now; the sentence says why."""


class ErasureNotConfirmed(ProtectionError):
    """The code is not the one of what would be erased now."""

    def __init__(self, code: str) -> None:
        super().__init__(
            f"this is not the code of what would be erased now: look at it again, then confirm with {code}"
        )


class RegisterDamaged(ProtectionError):
    """A file of the register of erasures cannot be read: a restore would not know what was erased."""


class ExportTargetTaken(ProtectionError):
    """Something lies where the export is to be written."""

    def __init__(self, path: object) -> None:
        super().__init__(f"{path} is there already: name a new file or folder")


class ExportDamaged(ProtectionError):
    """A package cannot be read as one."""
