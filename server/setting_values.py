"""Values of settings as an installation gives them: environment variables, and a TOML file that one of them names."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server.errors import SettingInvalid


def given_values(
    environment: Mapping[str, str], prefix: str, known: Mapping[str, tuple[str, Any]]
) -> dict[str, Any]:
    """The values that are given, of the types of their defaults. A variable wins over the file.

    known: name → (variable, default). Raises `SettingInvalid`.
    """
    values: dict[str, Any] = {}
    config = environment.get(prefix + "CONFIG")
    file_values = _read_file(prefix, Path(config)) if config else {}
    for name in file_values:
        if name not in known:
            raise SettingInvalid(name, str(file_values[name]), f"no such setting (in {config})")
    for name, (variable, default) in known.items():
        if variable in environment:
            values[name] = _convert(name, environment[variable], default)
        elif name in file_values:
            values[name] = _convert(name, str(file_values[name]), default)
    return values


def _read_file(prefix: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except ValueError as error:  # not TOML, or not text at all
        raise SettingInvalid(prefix + "CONFIG", str(path), str(error)) from None


def _convert(name: str, text: str, default: Any) -> Any:
    """`text` as the type of the default."""
    try:
        if isinstance(default, bool):
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[
                text.strip().lower()
            ]
        return type(default)(text) if not isinstance(default, Path) else Path(text)
    except (ValueError, KeyError):
        raise SettingInvalid(name, text, f"not a {type(default).__name__}") from None
