"""How a setting is declared; each part of the settings has a module `<part>_settings.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PREFIX = "RADMETER_"


def setting(default: Any, variable: str, description: str, *, is_secret: bool = False) -> Any:
    """A field with the name of its environment variable, without the prefix, and its sentence."""
    metadata = {"variable": PREFIX + variable, "description": description}
    return field(default=default, repr=not is_secret, metadata=metadata)


@dataclass(frozen=True)
class SettingsPart:
    """Settings of one subject. `Settings` inherits every part and has each check its own."""

    def check(self) -> None:
        """Raise `SettingInvalid` with the name of a bad value."""
