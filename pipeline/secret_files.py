"""Files of the folder `secrets`: certificates, keys and tokens that rows of the database name and never hold."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.errors import SecretMissing

SECRET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


def secret_file(folder: Path | None, name: str | None) -> Path | None:
    """The file of that name; None for none. Raises `SecretMissing`."""
    if name is None:
        return None
    path = folder / name if folder is not None else None
    if path is None or not path.is_file():
        raise SecretMissing(name)
    return path
