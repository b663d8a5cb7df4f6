"""What can be wrong with an installation."""

from __future__ import annotations


class ServerError(Exception):
    """The server cannot start or a command cannot be carried out."""


class SettingInvalid(ServerError):
    """A setting has a value that cannot be used."""

    def __init__(self, name: str, value: str, reason: str) -> None:
        super().__init__(f"setting {name} = {value!r}: {reason}")
        self.name = name


class CommandFailed(ServerError):
    """A command cannot be carried out, for the reason given."""


class BackupFailed(ServerError):
    """A backup or a restore cannot be made, for the reason given."""
